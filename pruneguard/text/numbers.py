"""Number words: a run of them becomes digits, "twenty five" as well as "quatre vingt dix"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

from pruneguard.text.disguises import unmarked
from pruneguard.text.patterns import any_of

_HUGE = 10**6  # stands for every larger number


@dataclass(frozen=True)
class Numbers:
    """The number words of a language.

    `joints` are the words inside a number, as in "twenty *and* one". `ordinals` become digits with "th".
    """

    values: Mapping[str, int] = field(default_factory=dict)
    joints: Sequence[str] = ()
    ordinals: Mapping[str, int] = field(default_factory=dict)

    def as_digits(self, words: str) -> str:
        """The words with digits for numbers."""
        if self.ordinals:
            words = self._ordinals.sub(lambda found: f"{self.ordinals[found[0]]}th", words)
        return self._runs.sub(lambda found: self._digits(found[0]), words) if self.values else words

    def _digits(self, run: str) -> str:
        """The numbers that a run of number words tells, for example "25" or, if it tells two, "2 15"."""
        parts: list[str] = []
        number, joint = 0, ""
        for word in run.split():
            value = self.values.get(word)
            if value is None:
                joint = word
                continue
            whole = _joined(number, value) if parts else None
            if whole is None:
                parts += [joint, str(value)] if joint else [str(value)]
                number = value
            else:
                parts[-1], number = str(whole), whole
            joint = ""
        return " ".join(parts)

    @cached_property
    def _ordinals(self) -> re.Pattern[str]:
        return re.compile(rf"\b{any_of(self.ordinals)}\b")

    @cached_property
    def _runs(self) -> re.Pattern[str]:
        word = rf"{any_of(self.values)}\b"
        joint = rf"(?:{any_of(self.joints)} )?" if self.joints else ""
        return re.compile(rf"\b{word}(?: {joint}{word})*")


def counted(words: str, first: int, step: int = 1) -> dict[str, int]:
    """The number of each word: `first` for the first one, then by `step`. Words lose their accents, as texts do."""
    return {unmarked(word): number for number, word in zip(count(first, step), words.split(), strict=False)}


def _joined(number: int, value: int) -> int | None:
    """The number that two number words in a row make: 20 and 5 are 25, 4 and 20 are 80. None if they are two."""
    if value >= 100:
        return min(number * value, _HUGE)
    rest = number % 100
    after_hundreds = number >= 100 and rest == 0
    after_tens = (rest >= 10 and rest % 10 == 0 and value < 10) or (rest in (60, 80) and value < 20)
    if after_hundreds or after_tens:
        return number + value
    return 80 if (number, value) == (4, 20) else None
