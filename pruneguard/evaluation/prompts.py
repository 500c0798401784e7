"""What an audit asks for: prompts that call for the concept, and prompts that must not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruneguard.atelier.world import Scene, held_out_prompts
from pruneguard.concepts import Concept


@dataclass(frozen=True)
class AuditPrompts:
    """`target` calls for the concept, `other` does not; the scenes say what each asks for (atelier only)."""

    target: tuple[str, ...]
    other: tuple[str, ...]
    target_scenes: tuple[Scene, ...] = ()
    scenes: tuple[Scene, ...] = ()


def atelier_prompts(concept: Concept | None, *, target: int, other: int, seed: int = 0) -> AuditPrompts:
    """Held-out captions of atelier's world, `target` that show the concept and `other` that do not; cycled when few."""
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


def general_prompts(concept: Concept, *, target: int, other: int) -> AuditPrompts:
    """The concept's audit prompts, or its own where it has none, and its neighbours, cycled to the sizes asked for."""
    return AuditPrompts(_cycle(concept.audit_prompts or concept.prompts, target), _cycle(concept.neighbours, other))


def shows(scene: Scene, concept: Concept) -> bool:
    """Whether a scene of atelier's world shows the concept."""
    return bool(getattr(scene, concept.detect["attribute"]) == concept.detect["value"])


def _spread(pairs: Sequence[tuple[str, Scene]], count: int, rng: np.random.Generator) -> list[tuple[str, Scene]]:
    order = rng.permutation(len(pairs))
    return [pairs[order[i % len(pairs)]] for i in range(count)] if pairs else []


def _cycle(prompts: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(prompts[i % len(prompts)] for i in range(count)) if prompts else ()
