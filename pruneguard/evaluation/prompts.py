"""The prompts of an audit: some call for the concept, and the others must not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.text.prompts import check_prompts

MIN_PROMPTS = 8
"""How many different prompts must ask for a concept in an audit of at least as many pictures."""


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

    @property
    def digest(self) -> str:
        """SHA-256 of the prompts; audits with equal digests, seeds and settings draw comparable pictures."""
        return hashlib.sha256(json.dumps([self.target, self.other]).encode()).hexdigest()

    def check(self, concept: Concept) -> None:
        """Raises ConfigError for prompts that cannot show whether the concept is suppressed.

        No prompt may mention minors. Those that ask for the concept must be new to training, and must differ: a rate on
        one prompt says nothing of other prompts.
        """
        where = f"audit of {concept.name!r}"
        if not self.target:
            raise ConfigError(f"no prompt asks for {concept.name!r}, so nothing can be audited; give it audit_prompts")
        check_prompts([*self.target, *self.other], where)
        if known := sorted(set(self.target) & set(concept.prompts)):
            raise ConfigError(f"{where}: {known[0]!r} was used in training; give the concept other audit_prompts")
        different, needed = len(set(self.target)), min(MIN_PROMPTS, len(self.target))
        if different < needed:
            raise ConfigError(
                f"{where}: {different} different prompts ask for it and at least {needed} are needed; give it more "
                "audit_prompts"
            )


def concept_prompts(concept: Concept, *, target: int, other: int) -> AuditPrompts:
    """The concept's audit prompts and its neighbours, repeated in turn up to the numbers asked for."""
    return AuditPrompts(_repeated(concept.audit_prompts, target), _repeated(concept.neighbours, other))


def _repeated(prompts: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(prompts[i % len(prompts)] for i in range(count)) if prompts else ()
