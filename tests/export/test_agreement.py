"""The measures of parity pinned to numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pruneguard.errors import ConfigError
from pruneguard.export.agreement import Agreement, ParityLimits, measure, psnr


def compare(reference: list[float], candidate: list[float]) -> Agreement:
    return measure("unet", "out_sample", "batch 1", np.array(reference), np.array(candidate))


def test_measures_are_the_textbook_ones() -> None:
    found = compare([3.0, 4.0], [3.0, 5.0])
    assert (found.max_abs, found.peak, found.finite) == (1.0, 4.0, True)
    assert found.relative_l2 == pytest.approx(0.2)
    assert found.cosine == pytest.approx(29 / (5 * math.sqrt(34)))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_on_either_side(wrong: float) -> None:
    for pair in (([1.0, wrong], [1.0, 1.0]), ([1.0, 1.0], [1.0, wrong]), ([wrong, 1.0], [wrong, 1.0])):
        complaint = compare(*pair).complaint(ParityLimits())
        assert complaint == "unet out_sample (batch 1): values that are not finite"


def test_shapes_that_differ_fail() -> None:
    assert compare([1.0], [1.0, 1.0]).complaint(ParityLimits()) is not None


def test_zero_against_something_fails_and_against_zero_passes() -> None:
    assert compare([0.0, 0.0], [0.0, 1e-6]).complaint(ParityLimits()) is not None
    assert compare([0.0, 0.0], [0.0, 0.0]).complaint(ParityLimits()) is None


def test_max_abs_counts_as_a_share_of_a_large_peak_only() -> None:
    loose = {"relative_l2": 1.0, "cosine": 0.1}
    limits = ParityLimits(max_abs=0.01, **loose)
    assert compare([100.0, 1.0], [100.9, 1.0]).complaint(limits) is None
    assert "max-abs difference 1.1 is above 1" in str(compare([100.0, 1.0], [101.1, 1.0]).complaint(limits))
    assert "max-abs difference 0.02 is above 0.01" in str(compare([0.1, 0.1], [0.12, 0.1]).complaint(limits))


def test_each_limit_bites_alone() -> None:
    pair = ([1.0, 1.0], [1.0, 1.1])
    assert "relative L2" in str(compare(*pair).complaint(ParityLimits(max_abs=1.0)))
    assert "cosine" in str(compare(*pair).complaint(ParityLimits(max_abs=1.0, relative_l2=1.0)))
    assert compare(*pair).complaint(ParityLimits(max_abs=1.0, relative_l2=1.0, cosine=0.9)) is None


def test_psnr_of_a_known_error() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    assert psnr(image, image) == 100.0
    assert psnr(image, image + np.uint8(1)) == pytest.approx(20 * math.log10(255))
    assert psnr(image, image + np.uint8(255)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "limits", [{"max_abs": 0.0}, {"relative_l2": math.nan}, {"cosine": 1.5}, {"psnr_db": math.inf}]
)
def test_limits_are_checked(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        ParityLimits(**limits)
