"""Guards: they check prompts before anything is drawn, and images before anything is returned.

A guard allows or refuses. A guard that raises, or whose verdict is unsound, counts as a failure: nothing is returned.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, GuardFailure, Refusal, shown
from pruneguard.text.disguises import words_of
from pruneguard.text.minors import mentions_minors

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """A guard's decision. The guard refuses if `score` reaches `threshold`."""

    guard: str
    decision: Literal["allow", "refuse"]
    score: float
    threshold: float
    concept: str


class Guard(Protocol):
    """Checks prompts before anything is computed, and images (H, W, 3) uint8 before anything is returned.

    Threads share a guard. A method that checks nothing returns None. Images are read-only.
    """

    @property
    def name(self) -> str: ...

    def check_prompt(self, prompt: str) -> Verdict | None: ...

    def check_image(self, image: Image) -> Verdict | None: ...


class GuardRefusal(Refusal):
    """A guard's refusal, with all verdicts on the refused prompt or image and its index in the request."""

    def __init__(self, message: str, verdicts: tuple[Verdict, ...], index: int) -> None:
        super().__init__(message)
        self.verdicts = verdicts
        self.index = index


@dataclass(frozen=True)
class MinorsGuard:
    """Refuses prompts that mention minors. Every sampler has this guard, whatever its policy."""

    name: str = "minors"

    def check_prompt(self, prompt: str) -> Verdict:
        return _binary(self.name, mentions_minors(prompt), "minors")

    def check_image(self, image: Image) -> None:
        return None


@dataclass(frozen=True)
class ConceptTermsGuard:
    """Refuses prompts that name a suppressed concept. It is optional: suppression by the model does not need it."""

    terms: Mapping[str, Sequence[str]]
    name: str = "concept-terms"

    def __post_init__(self) -> None:
        if not all(terms and all(term.strip() for term in terms) for terms in self.terms.values()):
            raise ConfigError("a concept of the terms guard has no terms; give each at least one word")

    @classmethod
    def from_concepts(cls, concepts: Mapping[str, Mapping[str, Any]]) -> ConceptTermsGuard:
        """The guard for a manifest's concepts."""
        return cls({name: tuple(concept.get("terms", ())) for name, concept in concepts.items()})

    def check_prompt(self, prompt: str) -> Verdict:
        padded, written = f" {' '.join(words_of(prompt))} ", _as_written(prompt)
        for concept, terms in self.terms.items():
            for term in terms:
                phrase = " ".join(words_of(term))
                # Words are Latin letters and digits. A term of other letters is looked for as it is written.
                if f" {phrase} " in padded if phrase else _as_written(term) in written:
                    return _binary(self.name, True, concept)
        return _binary(self.name, False, "")

    def check_image(self, image: Image) -> None:
        return None


def _as_written(text: str) -> str:
    """The text with its marks, which tell letters apart outside of Latin, and without invisible characters."""
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", shown).casefold().strip()


def check_guards(guards: Sequence[Guard]) -> tuple[Guard, ...]:
    """The guards. Raises ConfigError for anything but a list or tuple of objects with a guard's name and methods."""
    if not isinstance(guards, list | tuple):
        raise ConfigError(f"guards must be a list of guards, not {shown(guards)}")
    for guard in guards:
        methods = (getattr(guard, name, None) for name in ("check_prompt", "check_image"))
        if not isinstance(getattr(guard, "name", None), str) or not all(map(callable, methods)):
            raise ConfigError(f"{shown(guard)} is not a guard: it needs a name, check_prompt and check_image")
    return tuple(guards)


def check_prompt(guards: Sequence[Guard], prompt: str, index: int, what: str = "prompt") -> tuple[Verdict, ...]:
    """The verdicts on prompt number `index`. Raises GuardRefusal, or GuardFailure if a guard cannot decide."""
    return run_guards([(guard.name, partial(guard.check_prompt, prompt)) for guard in guards], what, index)


def check_image(guards: Sequence[Guard], image: Image, index: int) -> tuple[Verdict, ...]:
    """The verdicts on image number `index`. Raises GuardRefusal, or GuardFailure if a guard cannot decide."""
    return run_guards([(guard.name, partial(guard.check_image, image)) for guard in guards], "image", index)


def run_guards(
    checks: Sequence[tuple[str, Callable[[], Verdict | None]]], what: str, index: int = 0
) -> tuple[Verdict, ...]:
    """Runs all checks. Raises GuardFailure if one raises or is unsound, and GuardRefusal if one refuses."""
    verdicts = []
    for name, check in checks:
        try:
            verdict = check()
        except Exception as error:
            raise GuardFailure(f"guard {name!r} failed on {what} {index} ({error}); its image is withheld") from error
        if verdict is not None:
            verdicts.append(_sound(f"guard {name!r} on {what} {index}", verdict))
    if refusals := [verdict for verdict in verdicts if verdict.decision == "refuse"]:
        named = ", ".join(f"{verdict.guard} ({verdict.concept})" for verdict in refusals)
        raise GuardRefusal(f"{what} {index} was refused by {named}; its image is withheld", tuple(verdicts), index)
    return tuple(verdicts)


def _sound(guard: str, verdict: object) -> Verdict:
    """Returns the verdict. Raises GuardFailure for a verdict that contradicts itself or has no finite score."""
    known: tuple[object, ...] = ("allow", "refuse")
    decision = verdict.decision if isinstance(verdict, Verdict) else None
    if not isinstance(verdict, Verdict) or not isinstance(decision, str) or decision not in known:
        raise GuardFailure(f"{guard} gave no verdict; its image is withheld")
    if not all(_is_number(value) for value in (verdict.score, verdict.threshold)):
        raise GuardFailure(f"{guard} gave a score that is not a number; its image is withheld")
    if verdict.decision == "allow" and verdict.score >= verdict.threshold:
        raise GuardFailure(f"{guard} allowed a score above its threshold; its image is withheld")
    return verdict


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and -math.inf < value < math.inf


def _binary(guard: str, refused: bool, concept: str) -> Verdict:
    return Verdict(guard, "refuse" if refused else "allow", float(refused), 1.0, concept)
