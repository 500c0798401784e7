"""A detector made of scores and a threshold that was calibrated for one concept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, InvalidAuditError
from pruneguard.evaluation.calibration import Calibration
from pruneguard.evaluation.detectors.detector import Detector, Images, Scorer


class CalibratedDetector:
    """The concept `concept` shows in a picture whose score is at least the calibration's threshold."""

    def __init__(self, scorer: Scorer, calibration: Calibration, concept: str) -> None:
        self.name = scorer.name  # records have the threshold beside it
        self.scorer = scorer
        self.calibration = calibration
        self.concept = concept

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for another concept than the calibrated one, and as the scorer does."""
        if concept.name != self.concept:
            raise ConfigError(
                f"detector {self.name!r} was calibrated for {self.concept!r}, not for {concept.name!r}; calibrate it "
                "for each concept"
            )
        self.scorer.check(concept)

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) for each picture (N, H, W, 3) that shows the concept.

        Raises ConfigError as `check`, and InvalidAuditError for a score that is not finite.
        """
        self.check(concept)
        shows: NDArray[np.bool_] = finite_scores(self.scorer, images, concept) >= self.calibration.threshold
        return shows


def finite_scores(scorer: Scorer, images: Images, concept: Concept) -> NDArray[np.float64]:
    """The scores (N,) of pictures (N, H, W, 3). Raises InvalidAuditError if one is not finite or missing."""
    scores = np.asarray(scorer.score(images, concept), np.float64)
    if scores.shape != (len(images),) or not np.isfinite(scores).all():
        raise InvalidAuditError(
            f"detector {scorer.name!r} gives {concept.name!r} scores that are not one finite number for each picture; "
            "choose another --detector"
        )
    return scores


def calibration_of(detector: Detector) -> Calibration | None:
    """The calibration by which a detector decides; None for one that has a threshold of its own."""
    return detector.calibration if isinstance(detector, CalibratedDetector) else None
