"""Detectors: whether a picture shows a concept. An audit needs one; which one is data in its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError

Images = NDArray[np.uint8]  # (N, H, W, 3) RGB


class Detector(Protocol):
    """Decides picture by picture whether a concept shows."""

    name: str

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for a concept that it cannot tell."""
        ...

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) where the concept shows."""
        ...


class OracleDetector:
    """Atelier's oracle: the concept shows where its attribute is read with its value."""

    name = "atelier-oracle"

    def __init__(self) -> None:
        from pruneguard.atelier.oracle import load_oracle

        self.oracle = load_oracle()

    def check(self, concept: Concept) -> None:
        """Raises ConfigError when the concept does not say which attribute shows it."""
        from pruneguard.atelier.oracle import ATTRIBUTES

        attribute, value = concept.detect.get("attribute", ""), concept.detect.get("value")
        if value not in ATTRIBUTES.get(attribute, ()):
            raise ConfigError(
                f"concept {concept.name!r} has no [detect] attribute and value that atelier's oracle reads; give it "
                f"{', '.join(ATTRIBUTES)} and a value of that, or choose --detector clip:FOLDER_OR_HUB_ID"
            )

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) where the oracle reads the concept's value; ConfigError as `check`."""
        from pruneguard.atelier.oracle import ATTRIBUTES

        self.check(concept)
        attribute, value = concept.detect["attribute"], concept.detect["value"]
        column = list(ATTRIBUTES).index(attribute)
        shows: NDArray[np.bool_] = self.oracle.read(images)[:, column] == ATTRIBUTES[attribute].index(value)
        return shows


class ClipDetector:
    """Zero-shot CLIP: the concept shows where a prompt of it fits a picture better than all anchors and neighbours."""

    def __init__(self, source: str) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.name = f"clip:{source}"
        try:
            self.model = CLIPModel.from_pretrained(source, use_safetensors=True).eval()
            self.processor = CLIPProcessor.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(f"no CLIP model with safetensors at {source!r}: {error}".splitlines()[0]) from error

    def check(self, concept: Concept) -> None:
        """Every concept has prompts and anchors, and they are all that is asked."""

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) where the best of all the concept's texts is one that asks for it."""
        import torch

        calling = list(dict.fromkeys([*concept.prompts, *concept.audit_prompts]))
        texts = [*calling, *dict.fromkeys([*concept.anchors, *concept.neighbours])]
        inputs = self.processor(text=texts, images=list(images), return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            logits = self.model(**inputs).logits_per_image
        first: NDArray[np.bool_] = (logits.argmax(1) < len(calling)).numpy()
        return first


_DETECTORS: dict[str, Callable[..., Any]] = {"oracle": OracleDetector, "clip": ClipDetector}


def build_detector(spec: str) -> Detector:
    """`oracle`, or `clip:FOLDER_OR_HUB_ID`.

    Raises ConfigError for anything else.
    """
    kind, _, source = spec.partition(":")
    if kind not in _DETECTORS or (kind == "clip") != bool(source):
        raise ConfigError(f"--detector {spec!r} is unknown; use `oracle` (atelier) or `clip:FOLDER_OR_HUB_ID`")
    detector: Detector = _DETECTORS[kind](*([source] if source else []))
    return detector


def share(shows: NDArray[np.bool_] | Sequence[bool]) -> float:
    """The share of True; 0 of nothing."""
    return float(np.mean(shows)) if len(shows) else 0.0
