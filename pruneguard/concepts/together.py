"""Concepts that one run suppresses together: none of them may teach another one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pruneguard.concepts.concept import Concept
from pruneguard.errors import ConfigError


def suppress_together(concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts, each with the terms of the others as its `companions`.

    A concept loses the prompts whose anchor names a companion or calls it up unnamed, since the anchor is what the
    model shall draw instead, and the implicit prompts and neighbours that name one. What audits ask stays. Raises
    ConfigError for a concept of which no prompt is left, and for two concepts of one name.
    """
    return tuple(_beside(concept, [*concepts[:i], *concepts[i + 1 :]]) for i, concept in enumerate(concepts))


def _beside(concept: Concept, others: Sequence[Concept]) -> Concept:
    if any(other.name == concept.name for other in others):
        raise ConfigError(f"two concepts are called {concept.name!r}; name each once")

    def names_another(text: str) -> bool:
        return any(other.named_in(text) for other in others)

    calling = {text for other in others for text in (*other.implicit_prompts, *other.audit_implicit_prompts)}
    pairs = zip(concept.prompts, concept.anchors, strict=True)
    lost = {prompt for prompt, anchor in pairs if names_another(anchor) or anchor in calling}
    if lost.issuperset(concept.prompts):
        raise ConfigError(
            f"concept {concept.name!r}: all its anchors call for another concept that is suppressed with it, such as "
            f"{concept.anchors[0]!r}; give it other anchors"
        )
    unnamed = {prompt for prompt in concept.implicit_prompts if names_another(prompt)}
    return replace(
        concept.without(lost | unnamed),
        neighbours=tuple(prompt for prompt in concept.neighbours if not names_another(prompt)),
        companions=tuple(term for other in others for term in other.terms),
    )
