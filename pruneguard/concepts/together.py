"""Concepts that one run suppresses together: none of them may teach another one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from pruneguard.concepts.concept import Concept
from pruneguard.errors import ConfigError
from pruneguard.text.nearest import fuller_prompt


def suppress_together(concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts, each with the terms of the others as its `companions`.

    An anchor is what the model shall draw instead, so it must call for none of the concepts. An anchor that is a
    companion's prompt gives way to that prompt's own anchor, and one that calls a companion up unnamed to the anchor of
    a prompt that says the same and names it. A concept loses the prompts whose anchor still calls for a companion, and
    the implicit prompts and neighbours that name one. What audits ask stays. Raises ConfigError for a concept of which
    no prompt is left, for two concepts of one name, and for a prompt that trains one concept and audits another.
    """
    for concept, other in product(concepts, repeat=2):
        if shared := sorted(concept.audited & other.trained):
            raise ConfigError(
                f"concept {concept.name!r}: its audit asks {shared[0]!r}, and {other.name!r} trains with it; audits "
                "need prompts new to training"
            )
    return tuple(_beside(concept, [*concepts[:i], *concepts[i + 1 :]]) for i, concept in enumerate(concepts))


def _beside(concept: Concept, others: Sequence[Concept]) -> Concept:
    if any(other.name == concept.name for other in others):
        raise ConfigError(f"two concepts are called {concept.name!r}; name each once")
    instead = _unnamed_instead(others) | _instead(others)
    calling = {text for other in others for text in _unnamed(other)}

    def names_another(text: str) -> bool:
        return any(other.named_in(text) for other in others)

    anchors = tuple(_followed(anchor, instead) for anchor in concept.anchors)
    lost = {
        prompt
        for prompt, anchor, own in zip(concept.prompts, anchors, concept.anchors, strict=True)
        if names_another(anchor)
        or anchor in calling
        or (anchor != own and (concept.named_in(anchor) or anchor in _unnamed(concept)))
    }
    if lost.issuperset(concept.prompts):
        raise ConfigError(
            f"concept {concept.name!r}: all its anchors call for another concept that is suppressed with it, such as "
            f"{concept.anchors[0]!r}; give it other anchors"
        )
    unnamed = {prompt for prompt in concept.implicit_prompts if names_another(prompt)}
    return replace(
        replace(concept, anchors=anchors).without(lost | unnamed),
        neighbours=tuple(prompt for prompt in concept.neighbours if not names_another(prompt)),
        companions=tuple(term for other in others for term in other.terms),
    )


def _instead(concepts: Sequence[Concept]) -> dict[str, str]:
    """The anchor of each prompt that names a concept."""
    return {
        prompt: anchor for concept in concepts for prompt, anchor in zip(concept.prompts, concept.anchors, strict=True)
    }


def _unnamed_instead(concepts: Sequence[Concept]) -> dict[str, str]:
    """For prompts that call a concept up unnamed the anchor of a prompt that says the same and names it."""
    return {
        text: concept.anchors[index]
        for concept in concepts
        for text in _unnamed(concept)
        if (index := fuller_prompt(text, concept.prompts)) is not None
    }


def _unnamed(concept: Concept) -> tuple[str, ...]:
    return (*concept.implicit_prompts, *concept.audit_implicit_prompts)


def _followed(anchor: str, instead: Mapping[str, str]) -> str:
    """The end of the way from prompt to anchor that begins at `anchor`; where it turns in a circle, a text on it."""
    passed: set[str] = set()
    while anchor in instead and anchor not in passed:
        passed.add(anchor)
        anchor = instead[anchor]
    return anchor
