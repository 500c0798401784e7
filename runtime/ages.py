"""Whether a text mentions minors: age words and ages below eighteen, read through common disguises.

The list holds age words only, in English, and prefers refusing: "a minor key" and "a baby blue wall" are refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

ADULT_AGE = 18

# fmt: off
_NOUNS = (
    "adolescent", "baby", "boy", "boyhood", "child", "childhood", "girl", "girlhood", "grandchild", "gurl", "infant",
    "juvenile", "kid", "kiddie", "kiddo", "kindergartener", "kindergartner", "loli", "lolita", "minor", "newborn",
    "preschooler", "preteen", "preteenager", "schoolboy", "schoolchild", "schoolgirl", "schoolkid", "shota",
    "stepchild", "teen", "teenager", "toddler", "tween", "youngster", "youth",
)
_FORMS = (
    "babies", "boyz", "children", "girlz", "grandchildren", "infancy", "kidz", "prepubescent", "pubescent",
    "schoolchildren", "stepchildren", "teenage", "teenaged", "underage", "underaged",
)
_PHRASES = (
    "under age", "under aged", "first grader", "second grader", "third grader", "fourth grader", "fifth grader",
    "sixth grader", "seventh grader", "eighth grader", "ninth grader", "tenth grader", "grade schooler",
    "primary schooler", "elementary schooler", "middle schooler", "high schooler",
)
_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
)
# fmt: on
_LONGEST = max(map(len, _NOUNS + _FORMS)) + 1
_TERMS = frozenset(_NOUNS + _FORMS + tuple(noun + "s" for noun in _NOUNS))

# Digits and signs that stand for letters ("1" for i or l), and Cyrillic and Greek letters that look like Latin ones.
_LEET = (str.maketrans("03457@$€1!|", "oeastaseiii"), str.maketrans("03457@$€1!|", "oeastaselll"))
_LOOKALIKES = str.maketrans("авеікморстухһԁɡνοιαεκρτυχ", "abeikmopctyxhdgvoiaekptux")

_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORD_AGE = "".join(rf"(?<!{tens}[\s-])" for tens in _TENS.split()) + f"(?:{'|'.join(_NUMBERS)})"
_NUMBER = r"(?<![\d.,])(?:\d{1,3}(?:[ ,.]\d{3})+|\d+)"
_JOIN = r"[\s\-‐-―_]*"
_AGE_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<age>{_NUMBER}|\b(?:{_WORD_AGE})){_JOIN}(?:years?|yrs?)\.?{_JOIN}(?:olds?\b|of{_JOIN}age\b|young\b)",
        rf"(?P<age>{_NUMBER}|\b(?:{_WORD_AGE})){_JOIN}(?:yo|y/o|y\.\s?o\.?|yrold|yrsold)(?![a-z])",
        rf"\b(?:aged?|ages){_JOIN}(?:of|is|:|=)?{_JOIN}(?P<age>{_NUMBER}|(?:{_WORD_AGE})\b)",
        rf"\b(?:under|below|not{_JOIN}yet|younger{_JOIN}than){_JOIN}(?P<bound>1[0-8]\b|eighteen\b)",
    )
)
_PERSON = "(?:person|human|boy|girl|baby|child|infant)"
_INFANT_AGE = re.compile(
    rf"(?:{_NUMBER}|\b(?:an?|{_WORD_AGE})){_JOIN}(?:months?|weeks?|days?){_JOIN}olds?{_JOIN}{_PERSON}"
)


def mentions_minors(text: str) -> bool:
    """True if `text` names minors by an age word or an age below eighteen."""
    plain = _plain(text)
    if any(word in _TERMS for word in _spellings(plain)):
        return True
    words = " ".join(words_of(text))
    if any(f" {phrase}" in f" {words}" for phrase in _PHRASES):
        return True
    return any(age < ADULT_AGE for age in _ages(plain)) or _INFANT_AGE.search(plain) is not None


def words_of(text: str) -> list[str]:
    """The words of a text in plain lower-case Latin letters and digits."""
    return re.findall(r"[a-z0-9]+", _plain(text))


def _plain(text: str) -> str:
    """Compatibility forms folded, accents and invisible characters removed, look-alike letters replaced, lower case."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(char for char in folded if unicodedata.category(char) not in ("Mn", "Cf", "Cc") or char.isspace())
    return kept.translate(_LOOKALIKES)


def _spellings(plain: str) -> Iterator[str]:
    """Every word that the text may be meant to hold, with undone disguises."""
    candidates = re.findall(r"[a-z]+", plain)
    candidates += [re.sub(r"[^a-z]", "", token) for token in plain.split()]
    for token in re.findall(r"[a-z0-9@$€!|]+", plain):
        if re.search(r"[a-z]", token):
            candidates += [token.translate(table) for table in _LEET]
    candidates += _spaced_out(plain)
    for word in set(candidates):
        yield word
        yield re.sub(r"([a-z])\1{2,}", r"\1", word)
        yield re.sub(r"([a-z])\1{2,}", r"\1\1", word)


def _spaced_out(plain: str) -> Iterator[str]:
    """Words written letter by letter: every part of three letters or more of a run of single letters."""
    for run in re.findall(r"(?<![a-z0-9])(?:[a-z0-9@$!|][\s.\-_*/,]+){2,}[a-z0-9@$!|](?![a-z0-9])", plain):
        letters = re.sub(r"[\s.\-_*/,]+", "", run)
        for table in _LEET:
            spelled = letters.translate(table)
            for size in range(3, min(len(spelled), _LONGEST) + 1):
                yield from (spelled[at : at + size] for at in range(len(spelled) - size + 1))


def _ages(plain: str) -> Iterator[int]:
    """The ages that a text states, and 0 for "under" a youth's age."""
    for pattern in _AGE_PATTERNS:
        for match in pattern.finditer(plain):
            written = match.groupdict().get("age")
            yield 0 if written is None else _age(written)


def _age(written: str) -> int:
    if written in _NUMBERS:
        return _NUMBERS.index(written)
    # Python refuses to read absurdly long numbers; none of them is an age below eighteen.
    digits = re.sub(r"[ ,.]", "", written).lstrip("0")
    return int(digits or "0") if len(digits) < 6 else 10**6
