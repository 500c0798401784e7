"""Normalise obfuscated text: accents, look-alike letters, leetspeak, spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

# Letters of other alphabets that look like Latin ones.
_LOOKALIKES = str.maketrans(
    "авеікморстухһԁѕјӏԛԝьпгидлνοιαεκρτυχγωցհոսօյქⲁⲃⲉⲓⲕⲙⲛⲟⲣⲥⲧⲩⲭᎪᎠᎬᎥᎻᎫᏦᏞᎷᏢᎡᏕᎢᏟᏀᏴᏧᏂ",
    "abeikmopctyxhdsjlqwbnridlvoiaekptuxywghnuojdabeikmnopctyxadeihjklmprstcgbdh",
)
# Signs that stand for letters. Signs for i, l or 1 become l, see `folded`. One table reads 6 as g, the other as b.
_LEET = tuple(str.maketrans("0345789@$€1!|¡+6", f"oeastbgasellllt{six}") for six in "gb")
# Pairs of everyday words that, joined, spell a term that is searched for.
_EVERYDAY = {
    *(("min", "or"), ("in", "fancy"), ("lol", "i"), ("lol", "l"), ("lol", "is")),
    *((first, second) for first in ("shot", "shoot") for second in ("a", "as")),
}
_SIGN = r"[a-z0-9@$€!|¡+]"
_LATIN = re.compile(
    r"(?:.* )?(?:LATIN|SYMBOL)\b.*?\bLETTER"
    r" (?:(?:SMALL|CAPITAL|SCRIPT|DOTLESS|REVERSED|LONG|OPEN|INSULAR) )*([A-Z])(?: WITH .*)?"
)


def plain(text: str) -> str:
    """The text in lower case, with Latin letters for look-alikes and without accents and invisible characters.

    Emoji become their names; letters of other alphabets that resemble no Latin one stay.
    """
    return "".join(map(_plain_char, unicodedata.normalize("NFKD", text).casefold()))


def words_of(text: str) -> list[str]:
    """The words of a text in plain lower-case Latin letters and digits."""
    return re.findall(r"[a-z0-9]+", plain(text))


def spellings(text: str, longest: int) -> Iterator[str]:
    """Every word that a plain text may spell; words written letter by letter have at most `longest` letters."""
    candidates = words = re.findall(r"[a-z]+", text)
    candidates = candidates + [re.sub(r"[^a-z]", "", token) for token in text.split()]
    candidates += [first + second for first, second in pairwise(words) if (first, second) not in _EVERYDAY]
    for token in re.findall(f"{_SIGN}+", text):
        if re.search(r"[a-z]", token):
            candidates += [token.translate(table) for table in _LEET]
    candidates += _spaced_out(text, longest)
    for word in set(candidates):
        yield word
        yield re.sub(r"(.)\1{2,}", r"\1", word)
        yield re.sub(r"(.)\1{2,}", r"\1\1", word)


def wildcards(text: str) -> set[re.Pattern[str]]:
    """Patterns for the words in which * or # stands for some letters."""
    tokens = {token.strip("*#") for token in re.findall(r"[a-z*#]+", text)}
    hidden = (token for token in tokens if re.search(r"[*#]", token) and len(re.sub(r"[*#]", "", token)) > 1)
    return {re.compile(re.sub(r"[*#]", ".", token)) for token in hidden}


def folded(word: str) -> str:
    """The word with every i as l: many disguises swap the two, and 1, ! and | stand for both."""
    return word.replace("i", "l")


def single(word: str) -> str:
    """The word with each run of one letter cut to one."""
    return re.sub(r"(.)\1+", r"\1", word)


def _plain_char(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() or char.isspace() else ""
    category = unicodedata.category(char)
    if char.isspace() or category == "Pd":
        return " " if char.isspace() else "-"
    if category in ("Mn", "Me", "Cf", "Cc"):
        return ""
    if category == "No":
        return f"{unicodedata.numeric(char):g}"
    name = unicodedata.name(char, "")
    if letter := _LATIN.fullmatch(name):
        return letter[1].lower()
    return f" {name.lower()} " if category == "So" else char.translate(_LOOKALIKES)


def _spaced_out(text: str, longest: int) -> Iterator[str]:
    """Words written letter by letter: all parts, of three letters or more, of a run of single letters."""
    for sign, gap in ((r"[a-z0-9]", r"[^a-z0-9]"), (_SIGN, r"[\s.\-_*/,]")):
        for run in re.findall(rf"(?<![a-z0-9])(?:{sign}{gap}{{1,4}}){{2,}}{sign}(?![a-z0-9])", text):
            letters = re.sub(gap, "", run)
            for table in _LEET:
                spelled = letters.translate(table)
                for size in range(3, min(len(spelled), longest) + 1):
                    yield from (spelled[at : at + size] for at in range(len(spelled) - size + 1))
