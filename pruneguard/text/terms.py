"""English words for minors, which are found in common disguises too: "ch1ld", "c h i l d", "ch*ld"."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from pruneguard.text.disguises import folded, single, spelled_out, spellings, stretched, wildcards
from pruneguard.text.patterns import any_of

# fmt: off
_NOUNS = (
    "adolescent", "baby", "bairn", "boy", "boyhood", "child", "childhood", "choirboy", "daughter", "girl", "girlhood",
    "girlie", "godchild", "goddaughter", "grandchild", "granddaughter", "grandkid", "grandson", "gurl", "highschooler",
    "infant", "jailbait", "juvenile", "kid", "kiddie", "kiddo", "kiddy", "kidlet", "kindergartener", "kindergartner",
    "loli", "lolicon", "lolita", "minor", "newborn", "nymphet", "preschooler", "preteen", "preteenager", "pubescent",
    "schoolboy", "schoolchild", "schoolgirl", "schoolkid", "shota", "shotacon", "stepchild", "stepdaughter", "stepkid",
    "stepson", "teen", "teenager", "teenie", "teenybopper", "toddler", "tween", "tweenager", "youngling", "youngster",
    "youth",
)
_FORMS = (
    "adolescence", "babies", "babyhood", "boyz", "childlike", "children", "girlz", "grandchildren",
    "infancy", "kiddies", "kidz", "preadolescence", "preadolescent", "prepubertal", "prepuberty", "prepubescent",
    "puberty", "schoolage", "schoolaged", "schoolchildren", "stepchildren", "teenage", "teenaged", "underage",
    "underaged",
)
# fmt: on
_JOINED = tuple(
    first + second
    for first in ("baby", "little", "teen", "tiny", "young")
    for second in ("boy", "child", "girl", "kid", "boys", "girls", "kids")
)
TERMS = frozenset(_NOUNS + _FORMS + _JOINED + tuple(noun + "s" for noun in _NOUNS))
_LOLL = frozenset(("loll", "lolls"))  # the only English words that become a term when i and l are confused
_FOLDED = frozenset(map(folded, TERMS))
_SINGLE = frozenset(folded(term) for term in TERMS if len(term) > 3 and single(term) == term)
_BARE = frozenset(map(single, _FOLDED))


def has_term(shown: str) -> bool:
    """True if a plain text has a term, as it stands or in a disguise."""
    return (
        any(map(_is_term, spellings(shown)))
        or any(map(_holds_term, spelled_out(shown)))
        or any(map(_may_be_term, wildcards(shown)))
    )


def _is_term(word: str) -> bool:
    if single(folded(word)) not in _BARE:  # most words end here
        return False
    if folded(single(word)) in _SINGLE:
        return True
    return any(folded(form) in _FOLDED and form not in _LOLL for form in stretched(word))


def _holds_term(run: str) -> bool:
    """True if a term stands anywhere in a run of letters."""
    if _inside(_SINGLE).search(folded(single(run))):
        return True
    return any(_inside(_FOLDED).search(folded(form)) for form in stretched(run) if form not in _LOLL)


def _may_be_term(token: str) -> bool:
    """True if letters for the * of the token make it a term."""
    places = _places()
    terms = (places.get((len(token), at, char), frozenset()) for at, char in enumerate(token) if char != "*")
    return bool(frozenset.intersection(*terms))


@cache
def _inside(terms: frozenset[str]) -> re.Pattern[str]:
    return re.compile(any_of(terms))


@cache
def _places() -> dict[tuple[int, int, str], frozenset[str]]:
    """The terms by their length and by each letter with its place."""
    places = defaultdict(set)
    for term in TERMS:
        for at, char in enumerate(term):
            places[len(term), at, char].add(term)
    return {key: frozenset(terms) for key, terms in places.items()}
