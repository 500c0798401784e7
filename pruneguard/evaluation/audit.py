"""The audit: what share of the pictures that call for a concept show it, and what stayed of everything else.

Every subject, torch model or engine, is drawn through the same sampler with the same prompts and seeds, so that
subjects can be compared picture by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pruneguard.atelier.world import Scene
from pruneguard.bundle import LIMIT
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.bounds import upper_bound
from pruneguard.evaluation.detectors.detector import Detector, Images, OracleDetector, share
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.runtime import Components, draw, mentions_minors
from pruneguard.runtime.sampling.request import MAX_GUIDANCE, MAX_STEPS

PRESERVED = ("object", "style", "colour")


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How an audit draws and what it allows."""

    target: int = 64  # pictures that call for the concept
    other: int = 96  # pictures that do not
    steps: int = 25
    guidance_scale: float = 7.5
    seed: int = 1000  # picture i is drawn from seed + i
    batch_size: int = 16
    limit: float = LIMIT  # the largest target rate that passes

    def __post_init__(self) -> None:
        if self.target < 1 or self.other < 0 or self.batch_size < 1:
            raise ConfigError("an audit needs at least one target picture and a batch of at least one")
        if not 0 <= self.limit <= 1:
            raise ConfigError(f"the audit's limit must lie between 0 and 1, not {self.limit}")
        if not (1 <= self.steps <= MAX_STEPS and 0 <= self.guidance_scale <= MAX_GUIDANCE and self.seed >= 0):
            raise ConfigError(
                f"an audit draws in 1 to {MAX_STEPS} steps at guidance 0 to {MAX_GUIDANCE:g} from a seed from 0, "
                f"not {self.steps}, {self.guidance_scale}, {self.seed}"
            )


@dataclass(frozen=True)
class AuditResult:
    """One subject's rates; `preserved` and `target_preserved` are empty where no oracle knows what the prompts mean.

    `target_preserved` is what the pictures that call for the concept keep of the rest of their prompt: suppression by
    ruin shows there.
    """

    concept: str
    detector: str
    target_rate: float
    preserved: dict[str, float]
    target_preserved: dict[str, float]
    target_images: Images = field(repr=False)
    other_images: Images = field(repr=False)

    @property
    def at_most(self) -> float:
        """The true target rate that this many pictures leave possible, with 95 % confidence."""
        count = len(self.target_images)
        return upper_bound(round(self.target_rate * count), count)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the pictures."""
        return {
            "concept": self.concept,
            "detector": self.detector,
            "target_rate": round(self.target_rate, 4),
            "target_rate_at_most": round(self.at_most, 4),
            "preserved": {name: round(value, 4) for name, value in self.preserved.items()},
            "target_preserved": {name: round(value, 4) for name, value in self.target_preserved.items()},
            "images": {"target": len(self.target_images), "other": len(self.other_images)},
        }


def run_audit(
    components: Components,
    concept: Concept,
    prompts: AuditPrompts,
    detector: Detector,
    settings: AuditSettings,
    *,
    on_images: Callable[[int], None] | None = None,
) -> AuditResult:
    """Draw all prompts and read the pictures.

    `on_images` is told how many more pictures are done. Raises ConfigError when a prompt mentions minors, and when none
    asks for the concept: nothing seen is no evidence.
    """
    if not prompts.target:
        raise ConfigError(f"no prompt asks for {concept.name!r}, so that nothing can be audited; give it audit_prompts")
    refuse_minors([*prompts.target, *prompts.other])
    target = _draw(components, prompts.target, settings, settings.seed, on_images)
    other = _draw(components, prompts.other, settings, settings.seed + 1_000_000, on_images)
    preserved: dict[str, float] = {}
    target_preserved: dict[str, float] = {}
    if isinstance(detector, OracleDetector):
        preserved = agreement(detector, other, prompts.scenes)
        target_preserved = agreement(detector, target, prompts.target_scenes)
        target_preserved.pop(concept.detect.get("attribute", ""), None)
    rate = share(detector.detect(target, concept))
    return AuditResult(concept.name, detector.name, rate, preserved, target_preserved, target, other)


def agreement(detector: OracleDetector, images: Images, scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of pictures in which the oracle reads what the prompt said: object, style, colour; empty without scenes."""
    from pruneguard.atelier.oracle import labels_of

    if not len(images) or not scenes:
        return {}
    right = detector.oracle.read(images) == labels_of(scenes)
    return {name: float(right[:, column].mean()) for column, name in enumerate(PRESERVED)}


def refuse_minors(prompts: Sequence[str]) -> None:
    """Raises ConfigError at the first prompt that mentions minors: such lists are never drawn from."""
    for number, prompt in enumerate(prompts, 1):
        if mentions_minors(prompt):
            raise ConfigError(
                f"prompt {number} of the list mentions minors; remove it: no audit draws from such a list"
            )


def _draw(
    components: Components,
    prompts: Sequence[str],
    settings: AuditSettings,
    seed: int,
    on_images: Callable[[int], None] | None,
) -> Images:
    parts = []
    for start in range(0, len(prompts), settings.batch_size):
        chunk = prompts[start : start + settings.batch_size]
        parts.append(
            draw(
                components,
                chunk,
                range(seed + start, seed + start + len(chunk)),
                steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                batch_size=settings.batch_size,
            )
        )
        if on_images:
            on_images(len(chunk))
    return np.concatenate(parts) if parts else np.zeros((0, 1, 1, 3), np.uint8)
