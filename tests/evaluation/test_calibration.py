"""Thresholds, their error rates, and the bounds that allow for them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pruneguard.errors import ConfigError
from pruneguard.evaluation.bounds import upper_bound
from pruneguard.evaluation.calibration import (
    Calibration,
    calibrate,
    carried_bound,
    choose_threshold,
    fold_of,
    least_pictures,
    read_calibration,
)
from pruneguard.measurement import Protocol


def scores(*values: float) -> np.ndarray:
    return np.array(values)


# --- the threshold ---


def test_scores_that_do_not_overlap_are_parted_in_the_middle_of_the_gap() -> None:
    assert choose_threshold(scores(3, 4, 9), scores(-1, 0, 1)) == 2.0


def test_the_threshold_has_the_highest_balanced_accuracy_of_all() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(1, 1, 40), rng.normal(0, 2, 90)
    chosen = choose_threshold(positives, negatives)

    def accuracy(threshold: float) -> float:
        return float(np.mean(positives >= threshold) + np.mean(negatives < threshold)) / 2

    everywhere = np.linspace(-8, 8, 4001)
    assert accuracy(chosen) >= max(accuracy(threshold) for threshold in everywhere) - 1e-12


def test_kinds_of_different_size_count_equally() -> None:
    # Of 2 and 100 pictures: missing one of the two costs as much as 50 false alarms.
    positives, negatives = scores(0.0, 10.0), np.array([-1.0] * 60 + [1.0] * 40)
    assert choose_threshold(positives, negatives) == -0.5


def test_of_equally_good_thresholds_the_lowest_is_taken_because_it_finds_more() -> None:
    # At 0.5 one negative is read wrongly, at 2.5 one positive.
    assert choose_threshold(scores(1, 3), scores(0, 2)) == 0.5
    # A blind detector finds everything rather than nothing.
    assert choose_threshold(scores(5, 5), scores(5, 5)) == 5.0


@pytest.mark.parametrize(
    ("positives", "negatives"), [(scores(), scores(1)), (scores(1), scores()), (scores(float("nan")), scores(1))]
)
def test_no_scores_and_scores_that_are_no_numbers_give_no_threshold(
    positives: np.ndarray, negatives: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="a threshold needs finite scores"):
        choose_threshold(positives, negatives)


# --- the error rates ---


def test_pictures_of_one_prompt_come_into_one_fold_and_folds_have_equally_many_prompts() -> None:
    prompts = [name for name in "abcdefghij" for _ in range(3)]
    folds = fold_of(prompts, 5)
    assert folds.tolist() == [fold for fold in range(5) for _ in range(6)]
    assert fold_of(["a", "b", "a", "b"], 5).tolist() == [0, 2, 0, 2]


def test_pictures_of_a_single_prompt_are_split_by_picture() -> None:
    assert fold_of(["a"] * 10, 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_errors_are_counted_on_prompts_that_did_not_choose_the_threshold() -> None:
    # The pictures of prompt e score low. A threshold that has seen them finds them, and one that has not misses them.
    called = [name for name in "abcde" for _ in range(4)]
    positives = np.array([{"a": 6.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 1.0}[name] for name in called])
    negatives, uncalled = np.zeros(20), [name for name in "vwxyz" for _ in range(4)]
    found = calibrate(positives, negatives, called, uncalled)
    assert found == Calibration(threshold=0.5, missed=4, positives=20, false_alarms=0, negatives=20)
    assert int(np.sum(positives < found.threshold)) == 0
    assert found.accuracy == pytest.approx(0.9)


def test_a_blind_detector_has_the_accuracy_of_a_coin() -> None:
    rng = np.random.default_rng(1)
    prompts = [str(number) for number in range(400)]
    found = calibrate(rng.normal(size=400), rng.normal(size=400), prompts, prompts)
    assert found.accuracy == pytest.approx(0.5, abs=0.05)


def test_a_calibration_is_read_back_from_its_measurements() -> None:
    made = Calibration(-1.25, 3, 61, 7, 66)
    measured = made.measurements(((10, 70), (200, 265)), Protocol(subject="teacher", detector="d"))
    assert [(entry.name, entry.value, entry.high, entry.count, entry.seeds) for entry in measured] == [
        ("calibration/threshold", -1.25, None, 127, None),
        ("calibration/missed", 3 / 61, upper_bound(3, 61), 61, (10, 70)),
        ("calibration/false_alarms", 7 / 66, upper_bound(7, 66), 66, (200, 265)),
    ]
    assert read_calibration(measured) == made
    assert read_calibration(measured[:2]) is None
    assert read_calibration(()) is None


@pytest.mark.parametrize("values", [(0.0, 6, 5, 0, 5), (0.0, 0, 0, 0, 5), (float("inf"), 0, 5, 0, 5)])
def test_counts_that_are_none_are_no_calibration(values: tuple[float, int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="not a calibration"):
        Calibration(*values)


# --- the bound ---


def test_the_bound_is_divided_by_what_the_detector_finds_and_both_hold_at_once() -> None:
    reported, missed = upper_bound(2, 128, 0.975), upper_bound(6, 64, 0.975)
    assert carried_bound(2, 128, 6, 64) == pytest.approx(reported / (1 - missed))
    assert carried_bound(2, 128, 6, 64) > upper_bound(2, 128)
    assert carried_bound(0, 64, 0, 64) == pytest.approx(0.05933, abs=5e-6)


def test_misses_only_ever_raise_the_bound_and_it_is_at_most_one() -> None:
    bounds = [carried_bound(1, 64, missed, 64) for missed in range(65)]
    assert bounds == sorted(bounds)
    assert bounds[-1] == 1.0
    assert carried_bound(64, 64, 0, 64) == 1.0


@pytest.mark.parametrize(("missed", "limit"), [(0, 0.05), (6, 0.05), (20, 0.05), (0, 0.01)])
def test_the_least_number_of_pictures_is_the_first_that_can_pass(missed: int, limit: float) -> None:
    calibration = Calibration(0.0, missed, 64, 0, 64)
    least = least_pictures(calibration, limit)
    assert least is not None
    assert calibration.bound(0, least) <= limit < calibration.bound(0, least - 1)


def test_no_number_of_pictures_passes_if_the_detector_may_miss_all_or_nothing_is_allowed() -> None:
    assert least_pictures(Calibration(0.0, 64, 64, 0, 64), 0.05) is None
    assert least_pictures(Calibration(0.0, 0, 64, 0, 64), 0.0) is None
    assert least_pictures(Calibration(0.0, 0, 64, 0, 64), 1.0) is not None


@cache
def naive(shown: int, count: int) -> float:
    return upper_bound(shown, count)


@cache
def carried(shown: int, count: int, missed: int, positives: int) -> float:
    return carried_bound(shown, count, missed, positives)


@pytest.mark.parametrize(("true_rate", "misses"), [(0.1, 0.3), (0.2, 0.2)])
def test_the_bound_covers_the_true_rate_in_95_of_100_audits_by_a_detector_that_misses(
    true_rate: float, misses: float
) -> None:
    """A detector of known error: a share `misses` of the pictures with the concept looks like those without it."""
    rng, audits, count, size = np.random.default_rng(7), 2000, 200, 64

    def drawn(shows: np.ndarray) -> np.ndarray:
        seen = shows & (rng.random(shows.shape) >= misses)
        return np.where(seen, 5.0, 0.0) + rng.normal(0, 0.5, shows.shape)

    prompts = [str(number // 4) for number in range(size)]
    covered = fooled = 0
    for _ in range(audits):
        found = calibrate(drawn(np.ones(size, bool)), drawn(np.zeros(size, bool)), prompts, prompts)
        shown = int(np.sum(drawn(rng.random(count) < true_rate) >= found.threshold))
        covered += carried(shown, count, found.missed, found.positives) >= true_rate
        fooled += naive(shown, count) < true_rate
    assert covered / audits >= 0.95
    assert fooled / audits > 0.1, "the test says nothing if the bound without the misses covers as well"
