"""Calibration of a detector that gives scores: the threshold, its errors, and how they enter the bound of a rate.

The pictures of a calibration are the teacher's. Positives were drawn for prompts that call for the concept, negatives
for its anchors and neighbours. Whether a picture shows what its prompt says is not known, so the teacher's own failures
count as the detector's errors. They make the bounds larger and never smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruneguard.bundle import FALSE_ALARMS, MISSED, THRESHOLD
from pruneguard.errors import ConfigError
from pruneguard.evaluation.bounds import BOUND, CONFIDENCE, pictures_for, upper_bound
from pruneguard.measurement import Measurement, Protocol, find

Scores = NDArray[np.float64]
FOLDS = 5
CARRIED = f"{BOUND} with the detector's misses"
"""The interval of a rate whose bound allows for misses."""


@dataclass(frozen=True)
class Calibration:
    """A threshold, and the errors of thresholds chosen in the same way on pictures that did not choose them.

    `missed` of `positives` and `false_alarms` of `negatives` were read wrongly; see `calibrate`.
    """

    threshold: float
    """The concept shows in a picture whose score is at least this."""
    missed: int
    positives: int
    false_alarms: int
    negatives: int

    def __post_init__(self) -> None:
        """Raises ConfigError for counts that are none, and for a threshold that is not finite."""
        sound = 0 <= self.missed <= self.positives and 0 <= self.false_alarms <= self.negatives
        if not (sound and self.positives and self.negatives and math.isfinite(self.threshold)):
            raise ConfigError(f"not a calibration: {self}; calibrate the detector again")

    @property
    def accuracy(self) -> float:
        """The balanced accuracy: the mean of sensitivity and specificity; 0.5 for a detector that is blind."""
        return 1 - (self.missed / self.positives + self.false_alarms / self.negatives) / 2

    def bound(self, shown: int, count: int, confidence: float = CONFIDENCE) -> float:
        """The upper bound of the rate behind `shown` of `count` pictures; see `carried_bound`."""
        return carried_bound(shown, count, self.missed, self.positives, confidence)

    def measurements(self, seeds: tuple[tuple[int, int], tuple[int, int]], protocol: Protocol) -> list[Measurement]:
        """The threshold and both error rates, with the first and last seed of the positives and of the negatives."""
        errors = ((MISSED, self.missed, self.positives), (FALSE_ALARMS, self.false_alarms, self.negatives))
        return [
            Measurement(name=THRESHOLD, value=self.threshold, count=self.positives + self.negatives, protocol=protocol),
            *(
                Measurement(
                    name=name,
                    value=wrong / count,
                    unit="share",
                    high=upper_bound(wrong, count),
                    interval=BOUND,
                    count=count,
                    seeds=drawn,
                    protocol=protocol,
                )
                for (name, wrong, count), drawn in zip(errors, seeds, strict=True)
            ),
        ]


def read_calibration(measured: Iterable[Measurement]) -> Calibration | None:
    """The calibration among measurements, as `Calibration.measurements` gives them, or None. Raises ConfigError."""
    entries = list(measured)
    threshold, missed, alarms = (find(entries, name) for name in (THRESHOLD, MISSED, FALSE_ALARMS))
    if threshold is None or missed is None or alarms is None:
        return None
    wrong = [round(entry.value * entry.count) for entry in (missed, alarms)]
    return Calibration(threshold.value, wrong[0], missed.count, wrong[1], alarms.count)


def calibrate(
    positives: Scores, negatives: Scores, called: Sequence[str], uncalled: Sequence[str], folds: int = FOLDS
) -> Calibration:
    """The threshold of `choose_threshold` on all scores, and its errors by cross-validation over prompts.

    `positives` (P,) and `negatives` (N,) were drawn for the prompts `called` (P,) and `uncalled` (N,). Each fold holds
    out all pictures of some prompts, and is read with the threshold that the other folds give (Stone 1974, Journal of
    the Royal Statistical Society B 36), so no picture and no prompt chooses the threshold that reads it. A kind with a
    single prompt is split by picture: its error rate then covers other seeds, and not other prompts.

    The errors of all folds are counted together and treated as independent draws, which holds only roughly for pictures
    that share a prompt or a fold. Raises ValueError as `choose_threshold`.
    """
    held_p, held_n = fold_of(called, folds), fold_of(uncalled, folds)
    missed = false_alarms = 0
    for fold in range(folds):
        kept_p, kept_n = positives[held_p != fold], negatives[held_n != fold]
        threshold = choose_threshold(kept_p, kept_n)
        missed += int(np.sum(positives[held_p == fold] < threshold))
        false_alarms += int(np.sum(negatives[held_n == fold] >= threshold))
    return Calibration(choose_threshold(positives, negatives), missed, len(positives), false_alarms, len(negatives))


def choose_threshold(positives: Scores, negatives: Scores) -> float:
    """The threshold of the highest balanced accuracy, which is the one of Youden's index (Youden 1950, Cancer 3).

    Candidates are the middles between neighbouring scores, and the least score, at which everything is found. Of equal
    ones the lowest is taken, because a detector that guards should find too much rather than too little. `positives`
    (P,) and `negatives` (N,) are scores, higher where the concept shows. Raises ValueError if either is empty or has a
    number that is not finite.
    """
    scores = np.unique(np.concatenate([positives, negatives]))
    if not len(positives) or not len(negatives) or not np.isfinite(scores).all():
        raise ValueError("a threshold needs finite scores of pictures with the concept and of pictures without it")
    candidates = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2])
    found = len(positives) - np.searchsorted(np.sort(positives), candidates)
    rejected = np.searchsorted(np.sort(negatives), candidates)
    # Whole numbers, so that equal accuracies are equal; argmax takes the first of them, the lowest threshold.
    return float(candidates[np.argmax(found * len(negatives) + rejected * len(positives))])


def fold_of(prompts: Sequence[str], folds: int) -> NDArray[np.int64]:
    """The fold (N,) from 0 to `folds` - 1 of each picture, by its prompt; by its number if all have one prompt.

    Prompts that follow one another come into one fold, because lists often vary a scene before they go on to the next.
    """
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    if len(places) == 1:
        return np.arange(len(prompts)) * folds // max(len(prompts), 1)
    return np.array([places[prompt] * folds // len(places) for prompt in prompts], np.int64)


def carried_bound(shown: int, count: int, missed: int, positives: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound of the rate at which pictures show the concept, from a detector that misses some of them.

    Let p be the rate at which pictures show the concept, m the share of those that the detector misses, and r the rate
    at which it reports the concept. Every picture that shows the concept and is not missed is reported, so
    r >= p (1 - m), and p <= r / (1 - m) <= u / (1 - M) if r <= u and m <= M. Here u is the Clopper–Pearson bound behind
    `shown` of `count` pictures, and M the one behind `missed` of `positives`. Each holds with probability
    1 - (1 - `confidence`) / 2, so both hold at once with probability `confidence` (Bonferroni's inequality), whatever
    the dependence between them. The bound is at most 1.

    False alarms would lower it: the exact relation r = p (1 - m) + (1 - p) f (Rogan and Gladen 1978, American Journal
    of Epidemiology 107) gives p = (r - f) / (1 - m - f). They are not subtracted. The share f was measured on what the
    teacher draws for neighbours, and nothing says that the subject's pictures give as many. A smaller f there would
    make the result too small, while f = 0 is never too small. Raises ValueError as `upper_bound`.
    """
    each = 1 - (1 - confidence) / 2
    reported, miss = upper_bound(shown, count, each), upper_bound(missed, positives, each)
    return min(1.0, reported / (1 - miss)) if miss < 1 else 1.0


def least_pictures(calibration: Calibration, limit: float) -> int | None:
    """How many pictures an audit needs so that its bound is at most `limit` if none shows the concept.

    None if no number is enough, because the detector may miss every picture or `limit` is 0.
    """
    each = (1 - CONFIDENCE) / 2
    reported = limit * (1 - upper_bound(calibration.missed, calibration.positives, 1 - each))
    return pictures_for(reported, 1 - each)
