"""Atelier's oracle as a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import DETECTORS, Images
from pruneguard.registry import NoSettings


@DETECTORS.register("oracle")
class OracleDetector:
    """The concept shows if the oracle reads the concept's value of the concept's attribute."""

    name = "atelier-oracle"

    def __init__(self, settings: NoSettings | None = None) -> None:
        from pruneguard.atelier.oracle import load_oracle

        self.oracle = load_oracle()

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for a concept whose [detect] names no attribute and value that the oracle reads."""
        from pruneguard.atelier.oracle import ATTRIBUTES

        attribute, value = concept.detect.get("attribute", ""), concept.detect.get("value")
        if value not in ATTRIBUTES.get(attribute, ()):
            raise ConfigError(
                f"concept {concept.name!r} has no [detect] attribute and value that atelier's oracle reads; give it "
                f"{', '.join(ATTRIBUTES)} and a value of that, or choose --detector clip:FOLDER_OR_HUB_ID"
            )

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) for each picture (N, 64, 64, 3) that shows the concept. Raises ConfigError as `check`."""
        from pruneguard.atelier.oracle import ATTRIBUTES

        self.check(concept)
        attribute, value = concept.detect["attribute"], concept.detect["value"]
        column = list(ATTRIBUTES).index(attribute)
        shows: NDArray[np.bool_] = self.oracle.read(images)[:, column] == ATTRIBUTES[attribute].index(value)
        return shows
