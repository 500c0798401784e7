"""The prompts of an audit: some call for the concept, and the others must not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pruneguard.concepts import Concept


@dataclass(frozen=True)
class AuditPrompts:
    """`target` calls for the concept, `other` does not.

    `target_asked[i]` and `other_asked[i]` say what prompt i asks for in a form that the family's metrics read; both are
    empty if the family has no such form.
    """

    target: tuple[str, ...]
    other: tuple[str, ...]
    target_asked: tuple[Any, ...] = ()
    other_asked: tuple[Any, ...] = ()


def concept_prompts(concept: Concept, *, target: int, other: int) -> AuditPrompts:
    """The concept's audit prompts and its neighbours, repeated in turn up to the numbers asked for.

    A concept without audit prompts is asked for by its own prompts.
    """
    return AuditPrompts(
        _repeated(concept.audit_prompts or concept.prompts, target), _repeated(concept.neighbours, other)
    )


def _repeated(prompts: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(prompts[i % len(prompts)] for i in range(count)) if prompts else ()
