"""A rule is a row: a name, a pattern, and examples of what it must find and what it must not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pruneguard.text.disguises import unmarked
from pruneguard.text.numbers import Numbers
from pruneguard.text.patterns import any_of, any_pattern
from pruneguard.text.reading import Reading

# Parts of patterns in all languages, written <name>.
_PARTS = {
    "minor": r"(?:1[0-7]|\d)(?!\d)",
    "teen": r"1[0-7](?!\d)",
    "most": r"(?:1[0-8]|\d)(?!\d)",
    "gap": r"(?: [^\w ])*",
    "start": r"(?<!.)",
    # The start of a tag: of the text, or after a mark or a number. Prompts are often lists of tags.
    "tag": r"(?<![^\d,.:;/\(\[] )",
    "alone": r"(?! ?\w)",
}


@dataclass(frozen=True)
class Rule:
    """What counts as a mention. `hits` are texts that the pattern must find, `misses` near ones that it must not.

    An `accented` rule tells "niña" from "nina": it sees words with their accents, and number words as words. A
    `doubtful` one has words that mean something else in other languages, as "kind" does: it counts in a text with a
    sign of its own language only.
    """

    name: str
    pattern: str
    hits: tuple[str, ...]
    misses: tuple[str, ...]
    accented: bool = False
    doubtful: bool = False


@dataclass(frozen=True)
class Language:
    """A language: how its rules see a text, and the rules.

    Patterns may be written with accents, but neither they nor the texts have any when they meet, unless the rule is
    `accented`. They match whole words, except in kanji, which has no spaces. `parts` are the language's own parts of
    patterns. `split` is an ending that is read as a word of its own, because numbers are joined to it.

    `signs` are everyday words and `letters` accented ones that show a text to be in this language: English has none of
    them. In patterns, <sign> is any of the words.
    """

    name: str
    rules: tuple[Rule, ...]
    script: Literal["latin", "cyrillic", "kanji"] = "latin"
    numbers: Numbers = field(default_factory=Numbers)
    parts: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    signs: tuple[str, ...] = ()
    letters: str = ""

    def find(self, reading: Reading) -> Rule | None:
        """The first rule that finds a mention in the text."""
        shown = self.shown(reading)
        if not shown:
            return None
        for (accented, doubtful), pattern in self._any.items():
            seen = reading.accented if accented else shown
            if pattern.search(seen) and (not doubtful or self.is_told(reading)):
                rules = (rule for rule in self.rules if (rule.accented, rule.doubtful) == (accented, doubtful))
                return next(rule for rule in rules if self.compiled(rule).search(seen))
        return None

    def is_told(self, reading: Reading) -> bool:
        """True if the text has a sign of this language."""
        return not set(self.letters).isdisjoint(reading.accented) or bool(self._signs.search(reading.latin))

    def shown(self, reading: Reading) -> str:
        """The text as all rules but the accented ones see it."""
        words: str = getattr(reading, self.script)
        if self.split:
            words = re.sub(rf"(?<=\w){self.split}", r" \g<0>", words)
        return self.numbers.as_digits(words)

    def compiled(self, rule: Rule) -> re.Pattern[str]:
        """The rule's pattern."""
        return self._compile(self._whole(rule.pattern), accented=rule.accented)

    @cached_property
    def _any(self) -> Mapping[tuple[bool, bool], re.Pattern[str]]:
        """All rules that are alike accented and doubtful in one pattern, which is faster than one after the other.

        Compiled at the first text.
        """
        alike = defaultdict(list)
        for rule in self.rules:
            alike[rule.accented, rule.doubtful].append(self._whole(rule.pattern))
        return {
            kind: self._compile("|".join(found) if self.script == "kanji" else any_pattern(found), accented=kind[0])
            for kind, found in alike.items()
        }

    @cached_property
    def _signs(self) -> re.Pattern[str]:
        return self._compile(any_of(map(unmarked, self.signs)) or "(?!)")

    def _whole(self, pattern: str) -> str:
        """The pattern with its parts filled in."""
        parts = {**_PARTS, "sign": any_of(map(unmarked, self.signs)), **self.parts}
        while (filled := re.sub(r"<([a-z]+)>", lambda found: parts[found[1]], pattern)) != pattern:
            pattern = filled
        return pattern

    def _compile(self, pattern: str, *, accented: bool = False) -> re.Pattern[str]:
        whole = pattern if self.script == "kanji" else rf"(?<!\w)(?:{pattern})(?!\w)"
        return re.compile(whole if accented else unmarked(whole))
