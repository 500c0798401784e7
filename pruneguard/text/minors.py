"""Detects mentions of minors in a text: age words and ages below eighteen, also in common disguises.

The lists are English. In doubt a text counts as a mention: "a minor key", "a baby blue wall" and "a 12-year-old
whisky" do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pruneguard.text.disguises import folded, plain, single, spellings, wildcards, words_of

ADULT_AGE = 18

# fmt: off
_NOUNS = (
    "adolescent", "baby", "bairn", "boy", "boyhood", "child", "childhood", "daughter", "girl", "girlhood", "girlie",
    "godchild", "goddaughter", "grandchild", "granddaughter", "grandson", "gurl", "highschooler", "infant", "jailbait",
    "juvenile", "kid", "kiddie", "kiddo", "kiddy", "kidlet", "kindergartener", "kindergartner", "loli", "lolicon",
    "lolita", "minor", "newborn", "nymphet", "preschooler", "preteen", "preteenager", "pubescent", "schoolboy",
    "schoolchild", "schoolgirl", "schoolkid", "shota", "shotacon", "stepchild", "stepdaughter", "stepson", "teen",
    "teenager", "teenie", "teenybopper", "toddler", "tween", "youngling", "youngster", "youth",
)
_FORMS = (
    "adolescence", "babies", "babyhood", "boyz", "childlike", "children", "girlz", "grandchildren",
    "infancy", "kiddies", "kidz", "preadolescence", "preadolescent", "prepubertal", "prepuberty", "prepubescent",
    "puberty", "schoolage", "schoolaged", "schoolchildren", "stepchildren", "teenage", "teenaged", "underage",
    "underaged",
)
# Matched as whole words only; as substrings they occur in innocent words.
_PHRASES = (
    "lad", "laddie", "lass", "lassie", "lasses", "son", "schooler", "school pupil", "school uniform", "school aged?",
    "(?:high|middle|junior|elementary|primary|secondary|grade|nursery) ?school", "junior high", "kindergarten",
    "pre ?school", "day ?care", "cub scout", "(?:little|young|wee) ones", "under aged?", "sweet (?:16|sixteen)",
    "(?:not|below|under) (?:of )?legal age", "not (?:yet )?(?:an )?adult",
)
_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
)
_ROMAN = (
    "", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii",
)
_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_JOINED = tuple(
    first + second
    for first in ("baby", "little", "teen", "tiny", "young")
    for second in ("boy", "child", "girl", "kid", "boys", "girls", "kids")
)
_TERMS = frozenset(_NOUNS + _FORMS + _JOINED + tuple(noun + "s" for noun in _NOUNS))
_LONGEST = max(map(len, _TERMS))
_LOLL = frozenset(("loll", "lolls"))  # the only English words that become a term when i and l are confused
_FOLDED = frozenset(map(folded, _TERMS))
_SINGLE = frozenset(folded(term) for term in _TERMS if len(term) > 3 and single(term) == term)
_PHRASE = re.compile(rf"\b(?:{'|'.join(_PHRASES)})s?\b")

_JOIN = r"[\s\-_]*"
_GAP = r"[\s\-_.,/'’*+~|:]*"
_BEFORE = "".join(rf"(?<!{word}[\s-])" for word in (*_TENS, "hundred", "thousand", "hundred and"))
_WORD = rf"{_BEFORE}(?:{'|'.join(_NUMBERS)})(?!t?een|t?y\b|t?ies|t?h|[\s-](?:hundred|thousand))"
_NUMBER = r"(?<![\d.,])(?:\d{1,3}(?:[ ,.]\d{3})+(?!\d)|\d+(?!\d)(?:[.,]\d{1,2}(?!\d))?)"
_AGE = rf"(?P<age>{_NUMBER}|\b{_WORD})"
_ROMAN_AGE = rf"(?P<age>{_NUMBER}|\b{_WORD}|\b(?:{'|'.join(_ROMAN[:0:-1])})(?![a-z]))"
_MORE = rf"(?:{_GAP}and{_GAP}an?{_GAP}(?:half|quarter)|\s*(?:to|or|and|until|-|~)\s*(?:{_NUMBER}|{_WORD}))?"
_NTH = rf"(?:{_BEFORE}\b(?:{'|'.join(_ORDINALS)}))"
_TEENS = r"(?:1[3-8]|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen)"
_QUANTITY = (  # a unit or noun after a number shows that the number is no age
    r"(?!\d)(?!\s*(?:%|°|[x×:/]\s*\d|percent|degrees?|dollars?|euros?|cents?|pounds?|stars?|times|pieces|people|persons"
    r"|seconds?|minutes?|mins?|hours?|days?|weeks?|months?|pixels?|px|mm|cm|m|km|in(?!\s+\w)|inch(?:es)?|feet|ft|kg|g|mb|k|d)\b)"
)
_ONE = r"(?:woman|man|lady|female|male|person|human|student|gal|guy|actress|actor|model|she|he|her|him)"
_MANY = r"(?:women|men|ladies|people|they|them|we|you|i|(?:person|human|student|gal|guy|actor|model)s)"
_PERSON = rf"(?:{_ONE}s?|women|men|ladies|people|boy|girl|baby|child|infant)"
_HEDGE = r"(?:(?:only|just|about|around|barely|nearly|almost|maybe|perhaps|probably|still|already|now)\s+)*"
_BE = rf"(?:(?:\s+(?:who|that))?(?:\s*['’](?:s|re|m)|\s+(?:is|are|am|was|were|looks|seems)(?:\s+like)?)\s+{_HEDGE})"
_IS = rf"(?:\s*[,(\[:;-]\s*{_HEDGE}|\s+of\s+{_HEDGE}|{_BE})"
# What follows a person's bare age: the end of the phrase, or more about the person, but no counted thing or unit.
_ENDS = r"(?![.,]?\w|\s+\w|\s*[:/%°×])"
_GOES_ON = (
    r"(?=\s+(?:and|in|with|at|on|by|but|who|or|as|while|from|today|old|wearing|dressed|nude|naked|bare|topless|standing"
    r"|sitting|lying|kneeling|posing|smiling|looking|holding|walking|dancing)\b)"
)
_FREE = rf"(?:{_ENDS}|{_GOES_ON})"
_YEARS = r"(?:years?|yrs?|y)"
_COUNTED = "".join(
    rf"(?<!\b{word} )" for word in ("in", "for", "after", "over", "every", "last", "past", "next", "first", "than")
)
_PAST = r"(?:later|ago|after|before|of|into|since|together|apart|prior|earlier)"
# A match counts if its age is below eighteen, or if it has no group `age`.
_AGES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_ROMAN_AGE}{_MORE}{_GAP}(?:y[e3][a4@]rs?|yrs?){_GAP}(?:s{_GAP})?(?:[o0][l1!|]ds?\b|of{_GAP}age\b|young\b)",
        rf"{_AGE}{_JOIN}(?:yo|y/o|y[.\s-]{{0,2}}o\.?|yrold|yrsold)(?![a-z])",
        rf"\b(?:aged?|ages){_JOIN}(?:(?:of|is|at|:|=){_JOIN})?{_AGE}(?!(?:d|k|th|st|nd|rd|px|mm|cm)\b)",
        rf"\b(?:under|below|not{_JOIN}yet|younger{_JOIN}than)(?:{_JOIN}the{_JOIN}age{_JOIN}of)?{_JOIN}"
        rf"(?:1[0-8]|eighteen)s?\b{_QUANTITY}",
        rf"(?:\b(?:under|below|less{_JOIN}than|not|before)\b(?:{_JOIN}the{_JOIN}age{_JOIN}of)?|<){_JOIN}{_TEENS}s?\b"
        rf"{_QUANTITY}",
        rf"\bturn(?:s|ed|ing)?{_JOIN}{_AGE}(?:{_FREE}|(?=\s+(?:yesterday|now|this|last|years?)\b))",
        rf"\b(?P<age>\d+)(?:st|nd|rd|th){_JOIN}birth{_JOIN}day",
        rf"{_NTH}{_JOIN}birth{_JOIN}day",
        rf"\bborn{_JOIN}{_AGE}{_JOIN}years?{_JOIN}ago",
        rf"(?:\b(?:1[0-2]|[1-9])(?:st|nd|rd|th)|{_NTH}){_JOIN}grade(?:rs?)?\b",
        rf"\b(?:grade|year){_JOIN}(?:1[0-2]|[1-9]|{_WORD}){_JOIN}(?:student|pupil|class|learner)",
        rf"\b{_ONE}{_IS}{_AGE}{_ENDS}",
        rf"\b{_ONE}(?:{_BE}|\s+of\s+{_HEDGE})(?!one\b){_AGE}{_GOES_ON}",
        rf"\b{_ONE}{_IS}(?P<age>1[0-7]){_GOES_ON}",
        rf"\b{_MANY}{_BE}(?P<age>{_NUMBER}){_FREE}",
        rf"\b{_ONE}\s+(?P<age>1[0-7]){_FREE}",  # but not "Iron Man 3"
        rf"\b(?:is|looks)(?:\s+like)?\s+{_HEDGE}(?P<age>1[0-7]){_FREE}",  # the subject may be any name
        rf"(?<![\d.,:])(?P<age>{_TEENS})\s+(?:woman|lady|female|gal|actress|guy)\b",
        rf"\b(?:barely|not\s+even|hardly)\s+{_TEENS}\b{_QUANTITY}",
        rf"{_COUNTED}{_AGE}{_JOIN}yrs?{_GOES_ON}",
        rf",\s*{_AGE}{_JOIN}years{_GOES_ON}",
        rf"{_COUNTED}{_AGE}{_JOIN}(?:years|yrs?)(?=\s*(?:$|[,;)]|\.(?!\d)))",
        rf"\bin{_JOIN}(?:her|his|their){_JOIN}(?:\b1?\d(?:st|nd|rd|th)|{_NTH}){_JOIN}year\b(?!\s+(?:of|as|at|on)\b)",
        rf"{_AGE}{_JOIN}{_YEARS}{_JOIN}{_PERSON}\b",
        rf"\b{_ONE}(?:{_IS}|\s+){_AGE}{_JOIN}{_YEARS}\b(?!{_JOIN}{_PAST}\b)",
        rf"(?:{_NUMBER}|\b(?:an?|{_WORD})){_JOIN}(?:months?|weeks?|days?){_JOIN}olds?{_JOIN}{_PERSON}\b",
        rf"\ban?{_JOIN}year{_JOIN}old{_JOIN}{_PERSON}\b",
    )
)


def mentions_minors(text: str) -> bool:
    """True if `text` has an age word of minors or an age below eighteen."""
    shown = plain(text)
    return (
        any(map(_is_term, spellings(shown, _LONGEST)))
        or any(pattern.fullmatch(term) for pattern in wildcards(shown) for term in _TERMS)
        or _PHRASE.search(" ".join(words_of(text))) is not None
        or any(age < ADULT_AGE for age in _ages(shown))
    )


def _is_term(word: str) -> bool:
    return (folded(word) in _FOLDED and word not in _LOLL) or folded(single(word)) in _SINGLE


def _ages(shown: str) -> Iterator[int]:
    """The ages that a plain text states; 0 stands for a phrase that states no age but describes a minor."""
    for pattern in _AGES:
        for match in pattern.finditer(shown):
            written = match.groupdict().get("age")
            yield 0 if written is None else _age(written)


def _age(written: str) -> int:
    for names in (_NUMBERS, _ROMAN):
        if written in names:
            return names.index(written)
    whole = re.sub(r"[.,]\d{1,2}$", "", written)
    # Python refuses to convert numbers of thousands of digits; no such number is an age below eighteen.
    digits = re.sub(r"[ ,.]", "", whole).lstrip("0")
    return int(digits or "0") if len(digits) < 6 else 10**6
