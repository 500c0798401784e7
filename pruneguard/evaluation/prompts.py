"""The prompts of an audit: some call for the concept, by its name or without it, and the others must not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.text.prompts import check_prompts, same_text

MIN_PROMPTS = 8
"""How many different prompts must ask for a concept in an audit of at least as many pictures."""

_APART = 4
"""One prompt in so many is set apart for validation."""


@dataclass(frozen=True)
class AuditPrompts:
    """`target` names the concept, `implicit` does not although a model draws it there, and `other` does not ask for it.

    `target_asked[i]` and `other_asked[i]` say what prompt i asks for in a form that the family's metrics read; both are
    empty if the family has no such form.
    """

    target: tuple[str, ...]
    other: tuple[str, ...]
    target_asked: tuple[Any, ...] = ()
    other_asked: tuple[Any, ...] = ()
    implicit: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the prompts; audits with equal digests, seeds and settings draw comparable pictures."""
        lists = [self.target, self.other, self.implicit] if self.implicit else [self.target, self.other]
        return hashlib.sha256(json.dumps(lists).encode()).hexdigest()

    def of_targets(self, places: Sequence[int]) -> AuditPrompts:
        """The prompts with those of `target` that have these places."""
        asked = tuple(self.target_asked[place] for place in places) if self.target_asked else ()
        return replace(self, target=tuple(self.target[place] for place in places), target_asked=asked)

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for prompts that cannot show whether the concept is suppressed.

        No prompt may mention minors. Those that ask for the concept must be new to training, and must differ: a rate on
        one prompt says nothing of other prompts. Implicit prompts must not name the concept.
        """
        where = f"audit of {concept.name!r}"
        if not self.target:
            raise ConfigError(f"no prompt asks for {concept.name!r}, so nothing can be audited; give it audit_prompts")
        check_prompts([*self.target, *self.implicit, *self.other], where)
        if named := [prompt for prompt in self.implicit if concept.named_in(prompt)]:
            raise ConfigError(
                f"{where}: {named[0]!r} names the concept; move it from the implicit prompts to the others"
            )
        trained = concept.trained
        for prompts, words, remedy in (
            (self.target, "ask for it", "audit_prompts"),
            (self.implicit, "ask for it without its name", "audit_implicit_prompts"),
        ):
            if known := [prompt for prompt in prompts if same_text(prompt) in trained]:
                raise ConfigError(f"{where}: {known[0]!r} was used in training; give the concept other {remedy}")
            different, needed = len(set(map(same_text, prompts))), min(MIN_PROMPTS, len(prompts))
            if different < needed:
                raise ConfigError(
                    f"{where}: {different} different prompts {words} and at least {needed} are needed; give it more "
                    f"{remedy}"
                )


def concept_prompts(concept: Concept, *, target: int, other: int, implicit: int) -> AuditPrompts:
    """The concept's audit prompts, its neighbours and its implicit prompts, each repeated in turn to the number."""
    return AuditPrompts(
        target=repeated(concept.audit_prompts, target),
        other=repeated(concept.neighbours, other),
        implicit=repeated(concept.audit_implicit_prompts, implicit),
    )


def prompts_apart(concept: Concept, *, target: int, implicit: int) -> AuditPrompts | None:
    """A fourth of the prompts and of the implicit prompts of the concept, repeated to the numbers; training must leave
    them out. None for a concept with too few prompts to do without them.
    """
    named, unnamed = _a_part(concept.prompts), _a_part(concept.implicit_prompts)
    if not named:
        return None
    return AuditPrompts(target=repeated(named, target), other=(), implicit=repeated(unnamed, implicit))


def _a_part(prompts: Sequence[str]) -> list[str]:
    """One in four of the different prompts, chosen by their text; none of too few.

    Lists go through templates and scenes in turn, so every fourth place may have the same template.
    """
    different = sorted(set(prompts), key=lambda text: hashlib.sha256(text.encode()).digest())
    return different[::_APART] if len(different) >= 2 * _APART * MIN_PROMPTS else []


def repeated(prompts: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` prompts: the list in turn, again and again; none of an empty list."""
    return tuple(prompts[i % len(prompts)] for i in range(count)) if prompts else ()
