from __future__ import annotations

import math

import pytest

from pruneguard.evaluation.bounds import upper_bound


@pytest.mark.parametrize("count", [1, 8, 64, 5000])
def test_none_shown_is_the_rule_of_three_in_its_exact_form(count: int) -> None:
    assert upper_bound(0, count) == pytest.approx(1 - 0.05 ** (1 / count))


def test_what_is_shown_at_the_bound_comes_up_once_in_twenty() -> None:
    for shown, count in ((1, 8), (3, 64), (40, 64)):
        p = upper_bound(shown, count)
        below = sum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(shown + 1))
        assert below == pytest.approx(0.05)


def test_all_shown_bounds_nothing_and_more_pictures_say_more() -> None:
    assert upper_bound(8, 8) == 1.0
    assert upper_bound(1, 100) < upper_bound(1, 10)
    assert upper_bound(4, 1000) < upper_bound(5, 1000)


@pytest.mark.parametrize(("shown", "count"), [(-1, 4), (5, 4), (0, 0)])
def test_what_is_no_count_is_refused(shown: int, count: int) -> None:
    with pytest.raises(ValueError, match="is no count"):
        upper_bound(shown, count)
