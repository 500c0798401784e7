"""How rules see a text: its words, digits and marks with one space between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from pruneguard.text.disguises import accented, plain, unmarked

_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:[ ,.]\d{3})+(?!\d)")
_DECIMAL = re.compile(r"(?<![\d.,])(\d+)[.,]\d{1,2}(?![\d.,])")
_FRACTION = re.compile(r"\d\u2044\d+")  # "9½" is 91⁄2 by now
_RANGE = re.compile(r"(?<=\d) ?[-~] ?(?=\d)")
# A mark between two letters separates words, and so does a hyphen, unless it stands alone between two spaces.
_JOINT = re.compile(r"(?<=[^\W\d])[^\w\s](?=[^\W\d])|(?<!\s)[-_]|[-_](?!\s)|[^-\w\s,.;:()\[\]<>/%°×&@]")
_TOKEN = re.compile(r"\d+(?:st|nd|rd|th)(?![a-z])|\d+|[^\W\d_]+|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]+")
_CYRILLIC = re.compile("[а-яё]")
_LATIN_TWINS = str.maketrans("abcehkmoptxy", "авсенкмортху")
_KANJI = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_KANJI_DIGITS = {sign: value for value, sign in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2, "兩": 2}
_KANJI_NUMBER = re.compile(f"[{''.join(_KANJI_DIGITS)}十百千万萬]+")
_HUGE = 10**6  # stands for every larger number


@dataclass(frozen=True)
class Reading:
    """A text as the rules of the languages see it. Each view is made when it is first asked for."""

    text: str

    @cached_property
    def plain(self) -> str:
        """In plain Latin letters; see `disguises.plain`."""
        return plain(self.text)

    @cached_property
    def latin(self) -> str:
        """Words of the plain text."""
        return _words(self.plain)

    @cached_property
    def accented(self) -> str:
        """Words of the plain text with the accents that they are written with. Numbers may stay in parts."""
        text = accented(self.text)
        return self.latin if text is None else _tokens(text)

    @cached_property
    def cyrillic(self) -> str:
        """Words in their own letters; Latin letters inside Cyrillic words become Cyrillic. Empty without Cyrillic."""
        text = unmarked(self.text).casefold()
        if not _CYRILLIC.search(text):
            return ""
        return _words(_WORD.sub(lambda word: word[0] if word[0].isascii() else word[0].translate(_LATIN_TWINS), text))

    @cached_property
    def kanji(self) -> str:
        """Without spaces, and with digits for Chinese numerals. Empty without Chinese or Japanese characters."""
        text = unmarked(self.text).casefold()
        if not _KANJI.search(text):
            return ""
        return _KANJI_NUMBER.sub(lambda found: str(_kanji_value(found[0])), re.sub(r"\s+", "", text))


def _words(text: str) -> str:
    """The words, digits and marks of a text; numbers have neither separators nor decimals, and ranges a "to"."""
    text = _GROUPED.sub(lambda found: re.sub(r"[ ,.]", "", found[0]), text)
    text = _RANGE.sub(" to ", _DECIMAL.sub(r"\1", _FRACTION.sub("", text)))
    return re.sub(r"(?<!\d)0+(?=\d)", "", _tokens(text))


def _tokens(text: str) -> str:
    """The words, digits and marks of a text as they stand."""
    return " ".join(_TOKEN.findall(_JOINT.sub(" ", text)))


def _kanji_value(signs: str) -> int:
    if re.search("[百千万萬]", signs):
        return _HUGE
    tens, ten, ones = signs.partition("十")
    if not ten:
        return int("".join(str(_KANJI_DIGITS[sign]) for sign in signs[:6]))
    return 10 * _KANJI_DIGITS.get(tens[-1:], 1) + _KANJI_DIGITS.get(ones[:1], 0)
