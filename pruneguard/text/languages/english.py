"""English: number words, parts of patterns, and phrases for minors. `terms` has the single words."""

from __future__ import annotations

from pruneguard.text.languages.english_ages import AGES
from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.patterns import any_of
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **{"zero": 0, "hundred": 100, "thousand": 1000, "million": 10**6},
    **counted("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen", 2),
    **counted("seventeen eighteen nineteen", 17),
    **counted("twos threes fours fives sixes sevens eights nines tens elevens twelves thirteens fourteens", 2),
    **counted("fifteens sixteens seventeens eighteens", 15),
    **counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
}
ORDINALS = {
    **counted("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth", 1),
    **counted("fourteenth fifteenth sixteenth seventeenth eighteenth", 14),
}

# fmt: off
_PERSONS = (
    "actor", "actress", "apprentice", "athlete", "brother", "character", "climber", "cousin", "cyclist", "dancer",
    "drummer", "elf", "female", "friend", "gal", "guitarist", "guy", "gymnast", "hero", "heroine", "human", "king",
    "lady", "male", "man", "model", "musician", "nephew", "niece", "painter", "person", "pianist", "player", "prince",
    "princess", "queen", "rider", "runner", "sibling", "singer", "sister", "skater", "student", "swimmer", "violinist",
    "witch", "woman",
)
_GROUPS = ("i", "ladies", "men", "people", "them", "they", "twins", "we", "women", "you")
# fmt: on
_PARTS = {
    # "One" is in <minor> only: it is a pronoun where <number> stands.
    "number": r"(?:1[0-7]|\d)(?!\d)",
    "minor": r"(?:<number>|(?<!\d )one\b)",
    # A few roman numerals below eighteen; "xviii" is none of them.
    "roman": r"(?:x?(?:iv|vi{0,2}|i{1,3})|i?x)",
    "nth": r"(?<!\d )(?:1[0-7]|\d)(?:st|nd|rd|th)",
    "grade": r"(?<!\d )(?:1[0-2]|[1-9])(?:st|nd|rd|th)",
    "more": r"(?: and an? (?:half|quarter)| (?:to|or|and|until) \d+)?",
    "old": r"<more><gap> ?(?:<years><gap> ?(?:s )?(?:[o0] ?[l1!|] ?ds?|of<gap> ?age|young)|(?:year|yr)s?olds?)",
    "years": r"(?:y ?[e3] ?[a4@] ?rs?|yrs?)",  # digits inside a word stand apart: "y3ars" is shown as "y 3 ars"
    "one": any_of([*_PERSONS, "someone", "somebody", "she", "he", "her", "him"]),
    "many": any_of([*(f"{person}s" for person in _PERSONS), *_GROUPS]),
    "person": r"(?:<one>s?|women|men|ladies|people|boy|girl|baby|child|infant)",
    "hedge": (
        r"(?:(?:only|just|about|around|barely|nearly|almost|maybe|perhaps|probably|possibly|still|already|now|hardly"
        r"|roughly|some|both|not|even|yet|at most|no (?:more|older) than|not (?:more|older) than|an?|mere) )*"
    ),
    "be": (
        r"(?:(?:<gap> (?:who|that))? (?:is|s|are|re|am|m|was|were|be|became|becomes|looks?|looking|seems?|appears?"
        r"|appearing)(?: like| to be)? <hedge>)"
    ),
    # What follows a person's bare age: the end of the phrase, or more about the person, but no counted thing or unit.
    "ends": r"(?! ?[\w:/%°×<])",
    "doing": (
        r"(?= (?:and|who|today|old|wearing|dressed|nude|naked|bare|topless|standing|sitting|lying|kneeling|posing"
        r"|smiling|looking|holding|walking|dancing|reading|playing)\b)"
    ),
    "goeson": (
        r"(?:<doing>|(?= (?:in|with|at|on|by|but|or|as|while|when|until|till|because|since|if|next|this|from)\b))"
    ),
    "free": r"(?:<ends>|<goeson>)",
    # A unit or noun after a number shows that the number is no age.
    "count": (
        r"(?! ?[%°]| ?[x×:/] ?\d| ?(?:percent|degrees?|dollars?|euros?|cents?|pounds?|stars?|times|pieces|people"
        r"|persons|seconds?|minutes?|mins?|hours?|days?|weeks?|months?|pixels?|px|mm|cm|m|km|in(?! \w)|inch(?:es)?|feet"
        r"|ft|kg|g|mb|k|d|bit|bits|of)\b)"
    ),
    "span": "".join(
        rf"(?<!\b{word} )"
        for word in ("\\dth", "in", "for", "after", "over", "every", "last", "past", "next", "first", "than")
    ),
    "inmonths": r"<more> (?:months?|weeks?|days?)<gap> olds?",
    "past": r"(?: (?:later|ago|after|before|of|into|since|together|apart|prior|earlier)\b)",
}

_PHRASES = (
    Rule("lad and lass", r"lad(?:die)?s?|lass(?:ie)?(?:e?s)?", ("a lad", "two lasses"), ("a ladder", "glass")),
    Rule("son", r"sons?", ("father and son",), ("a season", "a person")),
    Rule(
        "young relative",
        r"(?:little|kid|baby|lil) (?:sister|brother|sibling|cousin|nephew|niece)s?",
        ("my little sister", "her baby brother"),
        ("two brothers in suits",),
    ),
    Rule(
        "school",
        r"(?:high|middle|junior|elementary|primary|secondary|grade|nursery) ?school(?:s|ers?)?|junior high"
        r"|pre ?schools?|kindergartens?|day ?cares?|schoolers?|school (?:pupils?|uniforms?|aged?)"
        r"|pre k(?:indergarten)?|(?:elementary|middle|primary) (?:student|pupil)s?|sixth form(?:er)?s?",
        (
            "a high school student",
            "Junior High",
            "pre-school",
            "a high-schooler",
            "kindergarten",
            "an elementary pupil",
        ),
        ("an old school tattoo", "a school of fish", "a student at university"),
    ),
    Rule(
        "little ones",
        r"(?:little|young|wee) (?:ones?|tots?)|cub scouts?|(?:tiny|wee) tots?|babes? in arms|street urchins?",
        ("young ones", "a cub scout", "the little one asleep"),
        ("a little house", "tater tots", "sea urchins", "one little bird"),
    ),
    Rule(
        "below an age of the law",
        r"under aged?|(?:not|below|under|beneath)(?: yet)?(?: of)?(?: the)? (?:legal|driving|drinking|voting) age"
        r"|(?:not|below|under|beneath)(?: yet)?(?: of)?(?: the)?(?: legal)? age of (?:consent|majority)"
        r"|not (?:yet )?(?:an )?adult|not (?:yet )?(?:a )?grown ups?|not (?:yet )?come of age",
        ("an under-age person", "not of legal age", "not yet an adult", "below the age of consent"),
        ("the age of reason", "a legal text", "not an advert"),
    ),
    Rule(
        "too young",
        r"(?:not|isn t|aren t|wasn t|nowhere near) (?:yet )?old enough to|too young to",
        ("not old enough to vote", "too young to drive"),
        ("old enough to vote", "too big to fail"),
    ),
)

ENGLISH = Language(
    name="English",
    numbers=Numbers(NUMBERS, joints=("and",), ordinals=ORDINALS),
    rules=(*_PHRASES, *AGES),
    parts=_PARTS,
    split=r"(?:year|yr)s?(?:old)?(?!\w)",  # "twelveyearsold"
)
