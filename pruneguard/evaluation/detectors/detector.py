"""The contract of detectors, and their registry. A detector says whether a picture shows a concept.

A detector that has a threshold of its own is a `Detector`. One that gives scores without a meaningful zero is a
`Scorer`: it is calibrated on the teacher's pictures of each concept, and audits look with what comes of that, a
`CalibratedDetector`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.registry import Registry
from pruneguard.settings import Choice

Images = NDArray[np.uint8]
"""Pictures (N, H, W, 3), RGB."""


class Detector(Protocol):
    """Decides picture by picture whether a concept shows."""

    name: str
    """The name in records: the network and, if several can be chosen, its source."""

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for a concept that this detector cannot recognise."""
        ...

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) for each picture (N, H, W, 3) that shows the concept."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says of each picture how clearly a concept shows; higher is clearer.

    Whatever has `score` is one, and is calibrated before it decides.
    """

    name: str
    """The name in records: the network and, if several can be chosen, its source."""

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for a concept that this detector cannot recognise."""
        ...

    def score(self, images: Images, concept: Concept) -> NDArray[np.float64]:
        """Scores (N,) of pictures (N, H, W, 3); comparable between the pictures of one concept."""
        ...


DETECTORS: Registry[Callable[[Any], Detector | Scorer]] = Registry(
    "detector", packages=("pruneguard.evaluation.detectors",)
)
"""Detectors by name; `build` takes the entry's settings object and returns a Detector or a Scorer."""


def build_detector(spec: str) -> Detector | Scorer:
    """The detector of a text: its name, or `name:source` for one whose settings have a `source`.

    Raises ConfigError for an unknown name, for a source that is missing or not wanted, and if it cannot be loaded.
    """
    name, _, source = spec.partition(":")
    choice = Choice(name, {"source": source} if source else {})
    return DETECTORS.find(name).build(DETECTORS.settings(choice))
