"""Prompts that ask for nearly the same."""

from __future__ import annotations

import re
from collections.abc import Sequence


def nearest_prompts(prompt: str, among: Sequence[str]) -> list[int]:
    """Indices of the prompts that share the largest part of all words with `prompt` (Jaccard); all of them if equal."""
    words = _words(prompt)
    scores = [len(words & _words(other)) / max(1, len(words | _words(other))) for other in among]
    best = max(scores, default=0.0)
    return [index for index, score in enumerate(scores) if score == best]


def fuller_prompt(prompt: str, among: Sequence[str]) -> int | None:
    """The index of the nearest among the prompts that have all words of `prompt`; None if there is none."""
    fuller = [index for index, other in enumerate(among) if _words(prompt) <= _words(other)]
    return fuller[nearest_prompts(prompt, [among[index] for index in fuller])[0]] if fuller else None


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
