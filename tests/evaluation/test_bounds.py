from __future__ import annotations

import math

import pytest

from pruneguard.evaluation.bounds import difference, lower_bound, pictures_for, upper_bound, wilson


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


def test_wilson_by_the_published_example() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, Statistics in Medicine 17, 857-872, table I: .2553 to .3662
    assert low == pytest.approx(0.2553, abs=5e-5)
    assert high == pytest.approx(0.3662, abs=5e-5)
    assert wilson(0, 20)[0] == 0.0


def test_a_difference_by_the_published_example() -> None:
    low, high = difference(56, 70, 48, 80)  # Newcombe 1998, 873-890, table II, method 10: .0524 to .3339
    assert low == pytest.approx(0.0524, abs=5e-5)
    assert high == pytest.approx(0.3339, abs=5e-5)
    assert difference(0, 10, 0, 10)[1] == pytest.approx(0.2775, abs=1e-3)


def test_the_lower_bound_mirrors_the_upper_one_and_the_pictures_for_a_limit_are_the_fewest() -> None:
    assert lower_bound(0, 20) == 0.0
    assert lower_bound(4, 20) == pytest.approx(0.0714, abs=1e-4)  # Clopper and Pearson's table
    for limit in (0.01, 0.05, 0.2):
        fewest = pictures_for(limit)
        assert fewest is not None and upper_bound(0, fewest) <= limit < upper_bound(0, fewest - 1)
    assert pictures_for(0.0) is None
