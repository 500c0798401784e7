"""Audit prompts from atelier's world: captions that were held out of all training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pruneguard.atelier.world import Scene, held_out_prompts
from pruneguard.concepts import Concept
from pruneguard.evaluation.prompts import AuditPrompts


def atelier_prompts(concept: Concept | None, *, target: int, other: int, seed: int = 0) -> AuditPrompts:
    """`target` held-out captions that show the concept and `other` that do not, each with its scene.

    The captions come in an order that depends on `seed`, and repeat if there are too few. Without a concept every
    caption counts as other.
    """
    rng = np.random.default_rng(seed)
    pairs = held_out_prompts()
    shown = [concept is not None and shows(scene, concept) for _, scene in pairs]
    calling = [pair for pair, hit in zip(pairs, shown, strict=True) if hit]
    neutral = [pair for pair, hit in zip(pairs, shown, strict=True) if not hit]
    chosen, others = _spread(calling, target, rng), _spread(neutral, other, rng)
    return AuditPrompts(
        tuple(caption for caption, _ in chosen),
        tuple(caption for caption, _ in others),
        tuple(scene for _, scene in chosen),
        tuple(scene for _, scene in others),
    )


def shows(scene: Scene, concept: Concept) -> bool:
    """Whether a scene of atelier's world shows the concept."""
    return bool(getattr(scene, concept.detect["attribute"]) == concept.detect["value"])


def _spread(pairs: Sequence[tuple[str, Scene]], count: int, rng: np.random.Generator) -> list[tuple[str, Scene]]:
    order = rng.permutation(len(pairs))
    return [pairs[order[i % len(pairs)]] for i in range(count)] if pairs else []
