"""Normalise obfuscated text: accents, look-alike letters, leetspeak, spacing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
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
_ACCENTED = re.compile("([àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœß])")
_SIGN = r"[a-z0-9@$€!|¡+]"
_SIGNS = re.compile(f"{_SIGN}+")
_WILD = re.compile(r"[a-z*#]+")
_RUNS = tuple(
    (re.compile(rf"(?<![a-z0-9])(?:{sign}{gap}{{1,4}}){{2,}}{sign}(?![a-z0-9])"), re.compile(gap))
    for sign, gap in ((r"[a-z0-9]", r"[^a-z0-9]"), (_SIGN, r"[\s.\-_*/,]"))
)
_LATIN = re.compile(
    r"(?:.* )?(?:LATIN|SYMBOL)\b.*?\bLETTER"
    r" (?:(?:SMALL|CAPITAL|SCRIPT|DOTLESS|REVERSED|LONG|OPEN|INSULAR) )*([A-Z])(?: WITH .*)?"
)


def plain(text: str) -> str:
    """The text in lower case, with Latin letters for look-alikes and without accents and invisible characters.

    Emoji become their names; letters of other alphabets that resemble no Latin one stay.
    """
    return "".join(map(_plain_char, unicodedata.normalize("NFKD", text).casefold()))


def accented(text: str) -> str | None:
    """The text as `plain` shows it, but with the accented letters of western Europe; None if it has none of them."""
    if text.isascii():
        return None
    parts = _ACCENTED.split(unicodedata.normalize("NFKC", text).lower())
    if len(parts) == 1:
        return None
    return "".join(part if at % 2 else plain(part) for at, part in enumerate(parts) if part)


def unmarked(text: str) -> str:
    """The text without accents and invisible characters; its letters stay in their alphabets."""
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not _is_invisible(char))


def words_of(text: str) -> list[str]:
    """The words of a text in plain lower-case Latin letters and digits."""
    return re.findall(r"[a-z0-9]+", plain(text))


def spellings(text: str) -> set[str]:
    """Every word that a plain text may spell: as it stands, with signs for letters, or in two parts."""
    words = re.findall(r"[a-z]+", text)
    found = set(words)
    found.update(re.sub(r"[^a-z]", "", token) for token in text.split())
    found.update(first + second for first, second in pairwise(words) if (first, second) not in _EVERYDAY)
    for token in set(_SIGNS.findall(text)):
        if not token.isalpha() and re.search(r"[a-z]", token):
            found.update(token.translate(table) for table in _LEET)
    return found


def spelled_out(text: str) -> set[str]:
    """The runs of single letters in a plain text, each closed up; a word may start anywhere in such a run."""
    closed = {gap.sub("", run) for pattern, gap in _RUNS for run in pattern.findall(text)}
    return {run.translate(table) for run in closed for table in _LEET}


def stretched(word: str) -> Iterator[str]:
    """The word, and as it reads if letters that stand there three times or more are one or two."""
    yield word
    if (once := re.sub(r"(.)\1{2,}", r"\1", word)) != word:
        yield once
        yield re.sub(r"(.)\1{2,}", r"\1\1", word)


def wildcards(text: str) -> set[str]:
    """The words of a plain text in which * or # stands for some letters, with * for both."""
    if "*" not in text and "#" not in text:
        return set()
    tokens = {token.strip("*#").replace("#", "*") for token in _WILD.findall(text)}
    return {token for token in tokens if "*" in token and len(token) - token.count("*") > 1}


def folded(word: str) -> str:
    """The word with every i as l: many disguises swap the two, and 1, ! and | stand for both."""
    return word.replace("i", "l")


def single(word: str) -> str:
    """The word with each run of one letter cut to one."""
    return re.sub(r"(.)\1+", r"\1", word)


@lru_cache(maxsize=2**13)
def _plain_char(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() or char.isspace() else ""
    category = unicodedata.category(char)
    if char.isspace() or category == "Pd":
        return " " if char.isspace() else "-"
    if category in ("Mn", "Me", "Cf", "Cc"):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "No":
        return f"{unicodedata.numeric(char):g}"
    name = unicodedata.name(char, "")
    if letter := _LATIN.fullmatch(name):
        return letter[1].lower()
    return f" {name.lower()} " if category == "So" else char.translate(_LOOKALIKES)


@lru_cache(maxsize=2**13)
def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me", "Cf") or (
        not char.isascii() and unicodedata.category(char) == "Cc"
    )
