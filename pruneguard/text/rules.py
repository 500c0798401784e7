"""A rule is a row: a name, a pattern, and examples of what it must find and what it must not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pruneguard.text.disguises import unmarked
from pruneguard.text.numbers import Numbers
from pruneguard.text.patterns import any_pattern
from pruneguard.text.reading import Reading

# Parts of patterns in all languages, written <name>.
_PARTS = {
    "minor": r"(?:1[0-7]|\d)(?!\d)",
    "teen": r"1[0-7](?!\d)",
    "most": r"(?:1[0-8]|\d)(?!\d)",
    "gap": r"(?: [^\w ])*",
}


@dataclass(frozen=True)
class Rule:
    """What counts as a mention. `hits` are texts that the pattern must find, `misses` near ones that it must not."""

    name: str
    pattern: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """A language: how its rules see a text, and the rules.

    Patterns may be written with accents, but neither they nor the texts have any when they meet. They match whole
    words, except in kanji, which has no spaces. `parts` are the language's own parts of patterns. `split` is an ending
    that is read as a word of its own, because numbers are joined to it.
    """

    name: str
    rules: tuple[Rule, ...]
    script: Literal["latin", "cyrillic", "kanji"] = "latin"
    numbers: Numbers = field(default_factory=Numbers)
    parts: Mapping[str, str] = field(default_factory=dict)
    split: str = ""

    def find(self, reading: Reading) -> Rule | None:
        """The first rule that finds a mention in the text."""
        shown = self.shown(reading)
        if not shown or not self._any.search(shown):
            return None
        return next(rule for rule in self.rules if self.compiled(rule).search(shown))

    def shown(self, reading: Reading) -> str:
        """The text as the rules see it."""
        words: str = getattr(reading, self.script)
        if self.split:
            words = re.sub(rf"(?<=\w){self.split}", r" \g<0>", words)
        return self.numbers.as_digits(words)

    def compiled(self, rule: Rule) -> re.Pattern[str]:
        """The rule's pattern."""
        return self._compile(self._whole(rule.pattern))

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """All rules in one pattern, which is faster than one after the other. Compiled at the first text."""
        patterns = [self._whole(rule.pattern) for rule in self.rules]
        return self._compile("|".join(patterns) if self.script == "kanji" else any_pattern(patterns))

    def _whole(self, pattern: str) -> str:
        """The pattern with its parts filled in."""
        parts = {**_PARTS, **self.parts}
        while (filled := re.sub(r"<([a-z]+)>", lambda found: parts[found[1]], pattern)) != pattern:
            pattern = filled
        return pattern

    def _compile(self, pattern: str) -> re.Pattern[str]:
        return re.compile(unmarked(pattern if self.script == "kanji" else rf"(?<!\w)(?:{pattern})(?!\w)"))
