"""Guards: what stands between a request and its image.

A guard says allow or refuse. One that cannot say, because it raised or computed no number, refuses too, as a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, GuardFailure, Refusal
from pruneguard.text.disguises import words_of
from pruneguard.text.minors import mentions_minors

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """What a guard decided; `score` is compared with `threshold`, and at or above it the decision is to refuse."""

    guard: str
    decision: Literal["allow", "refuse"]
    score: float
    threshold: float
    concept: str


class Guard(Protocol):
    """Checks prompts before anything is computed, and images (H, W, 3) uint8 before anything is returned.

    A guard must be safe to share between threads. A method that has nothing to check returns None.
    """

    @property
    def name(self) -> str: ...

    def check_prompt(self, prompt: str) -> Verdict | None: ...

    def check_image(self, image: Image) -> Verdict | None: ...


class GuardRefusal(Refusal):
    """A refusal with its verdicts, and the index of the prompt or image it is about."""

    def __init__(self, message: str, verdicts: tuple[Verdict, ...], index: int) -> None:
        super().__init__(message)
        self.verdicts = verdicts
        self.index = index


@dataclass(frozen=True)
class MinorsGuard:
    """Refuses prompts that mention minors. Every sampler has it, whatever its policy."""

    name: str = "minors"

    def check_prompt(self, prompt: str) -> Verdict:
        return _binary(self.name, mentions_minors(prompt), "minors")

    def check_image(self, image: Image) -> None:
        return None


@dataclass(frozen=True)
class ConceptTermsGuard:
    """Refuses prompts that name a suppressed concept; off by default, for the erased model is to speak for itself."""

    terms: Mapping[str, Sequence[str]]
    name: str = "concept-terms"

    def __post_init__(self) -> None:
        if not all(any(words_of(term) for term in terms) for terms in self.terms.values()):
            raise ConfigError("a concept of the terms guard has no terms; give each at least one word")

    @classmethod
    def from_concepts(cls, concepts: Mapping[str, Mapping[str, Any]]) -> ConceptTermsGuard:
        """The guard for a manifest's concepts."""
        return cls({name: tuple(concept.get("terms", ())) for name, concept in concepts.items()})

    def check_prompt(self, prompt: str) -> Verdict:
        padded = f" {' '.join(words_of(prompt))} "
        for concept, terms in self.terms.items():
            phrases = [" ".join(words_of(term)) for term in terms]
            if any(phrase and f" {phrase} " in padded for phrase in phrases):
                return _binary(self.name, True, concept)
        return _binary(self.name, False, "")

    def check_image(self, image: Image) -> None:
        return None


def check_prompts(
    guards: Sequence[Guard], prompts: Mapping[int, str], what: str = "prompt"
) -> tuple[tuple[Verdict, ...], ...]:
    """The verdicts on each prompt, by its index. Raises GuardRefusal, or GuardFailure if a guard cannot decide."""
    return tuple(
        run_guards([(guard.name, partial(guard.check_prompt, prompt)) for guard in guards], what, index)
        for index, prompt in prompts.items()
    )


def check_images(guards: Sequence[Guard], images: Sequence[Image]) -> tuple[tuple[Verdict, ...], ...]:
    """The verdicts on each image. Raises GuardRefusal, or GuardFailure if a guard cannot decide."""
    return tuple(
        run_guards([(guard.name, partial(guard.check_image, image)) for guard in guards], "image", index)
        for index, image in enumerate(images)
    )


def run_guards(
    checks: Sequence[tuple[str, Callable[[], Verdict | None]]], what: str, index: int = 0
) -> tuple[Verdict, ...]:
    """Runs all checks and closes on doubt: GuardFailure if one raises or is unsound, GuardRefusal if one refuses."""
    verdicts = []
    for name, check in checks:
        try:
            verdict = check()
        except Exception as error:
            raise GuardFailure(f"guard {name!r} failed on {what} {index} ({error}); nothing was drawn") from error
        if verdict is not None:
            verdicts.append(_sound(name, verdict))
    if refusals := [verdict for verdict in verdicts if verdict.decision == "refuse"]:
        named = ", ".join(f"{verdict.guard} ({verdict.concept})" for verdict in refusals)
        raise GuardRefusal(f"{what} {index} was refused by {named}; nothing was drawn", tuple(verdicts), index)
    return tuple(verdicts)


def _sound(name: str, verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict) or verdict.decision not in ("allow", "refuse"):
        raise GuardFailure(f"guard {name!r} gave no verdict; nothing was drawn")
    if not (math.isfinite(verdict.score) and math.isfinite(verdict.threshold)):
        raise GuardFailure(f"guard {name!r} gave a score that is not a number; nothing was drawn")
    if verdict.decision == "allow" and verdict.score >= verdict.threshold:
        raise GuardFailure(f"guard {name!r} allowed a score above its threshold; nothing was drawn")
    return verdict


def _binary(guard: str, refused: bool, concept: str) -> Verdict:
    return Verdict(guard, "refuse" if refused else "allow", float(refused), 1.0, concept)
