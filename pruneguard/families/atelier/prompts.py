"""Audit prompts from atelier's world: captions that were held out of all training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from pruneguard.atelier.world import Purpose, Scene, captions_for, purpose
from pruneguard.concepts import Concept
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families.atelier.concepts import unsaid_captions

T = TypeVar("T")


def atelier_prompts(
    concept: Concept | None, *, target: int, other: int, implicit: int = 0, seed: int = 0, use: Purpose = "audit"
) -> AuditPrompts:
    """`target` captions that name the concept and `other` that do not show it, each with its scene, for one purpose.

    `implicit` captions leave the concept unsaid. All come in an order that depends on `seed`, and repeat if there are
    too few. The others do not show its companions either, so concepts that are suppressed together share them. Without
    a concept every caption counts as other.
    """
    rng, other_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    pairs = captions_for(use)
    calling = [pair for pair in pairs if concept is not None and shows(pair[1], concept)]
    neutral = [pair for pair in pairs if concept is None or not concept.may_change(pair[0])]
    chosen, others = _shuffled(calling, target, rng), _shuffled(neutral, other, other_rng)
    unsaid = unsaid_captions(concept.detect["attribute"], concept.detect["value"]) if concept is not None else ()
    return AuditPrompts(
        target=tuple(caption for caption, _ in chosen),
        other=tuple(caption for caption, _ in others),
        target_asked=tuple(scene for _, scene in chosen),
        other_asked=tuple(scene for _, scene in others),
        implicit=tuple(_shuffled([caption for caption in unsaid if purpose(caption) == use], implicit, rng)),
    )


def shows(scene: Scene, concept: Concept) -> bool:
    """Whether a scene of atelier's world shows the concept."""
    return bool(getattr(scene, concept.detect["attribute"]) == concept.detect["value"])


def _shuffled(entries: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    order = rng.permutation(len(entries))
    return [entries[order[i % len(entries)]] for i in range(count)] if entries else []
