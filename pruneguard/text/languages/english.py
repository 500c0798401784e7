"""English: phrases for minors, and statements of an age below eighteen. `terms` has the single words."""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.patterns import any_of
from pruneguard.text.rules import Language, Rule

# "One" is no number here, because it is a pronoun more often; the rules spell it out where it counts.
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
    "number": r"(?:1[0-7]|\d)(?!\d)",
    "minor": r"(?:<number>|(?<!\d )one\b)",
    # A few roman numerals below eighteen; "xviii" is none of them.
    "roman": r"(?:x?(?:iv|vi{0,2}|i{1,3})|i?x)",
    "nth": r"(?<!\d )(?:1[0-7]|\d)(?:st|nd|rd|th)",
    "grade": r"(?<!\d )(?:1[0-2]|[1-9])(?:st|nd|rd|th)",
    "more": r"(?: and an? (?:half|quarter)| (?:to|or|and|until) \d+)?",
    "old": (r"<more><gap> ?(?:<years><gap> ?(?:s )?(?:[o0] ?[l1!|] ?ds?|of<gap> ?age|young)|(?:year|yr)s?olds?)"),
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
        r"|appearing)"
        r"(?: like| to be)? <hedge>)"
    ),
    # What follows a person's bare age: the end of the phrase, or more about the person, but no counted thing or unit.
    "ends": r"(?! ?[\w:/%°×<])",
    "doing": (
        r"(?= (?:and|who|today|old|wearing|dressed|nude|naked|bare|topless|standing|sitting|lying|kneeling|posing|smiling"
        r"|looking|holding|walking|dancing|reading|playing)\b)"
    ),
    "goeson": (
        r"(?:<doing>|(?= (?:in|with|at|on|by|but|or|as|while|when|until|till|because|since|if|next|this|from)\b))"
    ),
    "free": r"(?:<ends>|<goeson>)",
    # A unit or noun after a number shows that the number is no age.
    "count": (
        r"(?! ?(?:%|°|[x×:/] ?\d|percent|degrees?|dollars?|euros?|cents?|pounds?|stars?|times|pieces|people|persons"
        r"|seconds?|minutes?|mins?|hours?|days?|weeks?|months?|pixels?|px|mm|cm|m|km|in(?! \w)|inch(?:es)?|feet|ft|kg"
        r"|g|mb|k|d|bit|bits|of)\b)"
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
        r"|pre ?schools?"
        r"|kindergartens?|day ?cares?|schoolers?|school (?:pupils?|uniforms?|aged?)|pre k(?:indergarten)?"
        r"|(?:elementary|middle|primary) (?:student|pupil)s?|sixth form(?:er)?s?",
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

_AGES = (
    Rule(
        "years old",
        r"<minor><old>|(?:an?|<roman>)<old>",
        (
            "a 15 year old",
            "15-year-old",
            "a 16yr old",
            "14.year.old",
            "14 year's old",
            "nine and a half years old",
            "8-20 years old",
            "xiv years old",
            "17 years of age",
            "fifteen years young",
            "twelve-year-olds",
            "a year old human",
            "12 y3ars 0ld",
        ),
        ("an 18 year old", "a 2,000 year old temple", "one hundred years old", "twenty one years old", "louis xiv"),
    ),
    Rule(
        "y/o",
        r"<minor><more><gap> ?y<gap> ?o(?:ld)?",
        ("15yo", "15 y/o", "15 y.o.", "14 y o", "14 y-o"),
        ("20yo man", "25 y o", "yo-yo"),
    ),
    Rule(
        "aged",
        r"age[sd]?<gap>(?: (?:of|is|at|only|just|about|around|between|barely|a mere))*<gap> <minor>"
        r"(?! (?:d|k|th|st|nd|rd|px|mm|cm)\b)",
        (
            "aged 12",
            "age 12",
            "age: 9",
            "under the age of 16",
            "aged seventeen",
            "aged between 8 and 12",
            "ages 8 to 12",
        ),
        (
            "aged 30",
            "age of 18",
            "ice age 3D render",
            "Bronze Age 1200 BC",
            "aged for 12 years",
            "page 12",
            "aged sixty",
        ),
    ),
    Rule(
        "age group",
        r"<minor> (?:to|and) \d+ age (?:group|range|bracket)|age (?:group|range|bracket)<gap> <minor>",
        ("the 8-12 age group", "age range 10 to 14"),
        ("the 30-40 age group",),
    ),
    Rule(
        "months old",
        r"\d+<inmonths>|(?:an?|one)<inmonths>",
        ("6 month old baby", "a three-month-old asleep"),
        ("six months of rain",),
    ),
    Rule(
        "under an age",
        r"(?:under|below|beneath|not yet|younger than|(?:no|not) (?:a day )?(?:older|over) than|not a day over)"
        r"(?: the age of)? (?:1[0-8](?!\d)<count>|\d(?!\d)(?: s\b|<free>))|< <most><count>",
        ("under 18", "under eighteen", "younger than 16", "no older than fifteen", "under-12s", "<18", "not yet 18"),
        ("under two mirrors", "under 18 degrees", "over 18", "under 5 minutes", "below 30"),
    ),
    Rule(
        "less than an age",
        r"before the age of <most>|(?:less than|not|before|not over|no(?:t)? more than|barely|not even|hardly) 1[3-8](?!\d)<count>",
        ("less than 17", "not 18", "barely 15 woman", "not even 16"),
        ("less than 15 minutes", "not 12", "not 30"),
    ),
    Rule(
        "nearly an age",
        r"(?:up to|at most|short of|shy of|almost|nearly|going on|not quite) 1[3-8]<free>",
        ("a climber who is almost eighteen", "a year short of eighteen"),
        ("nearly 15 birds", "almost 30"),
    ),
    Rule(
        "and younger",
        r"<most> (?:or|and|&) (?:under|younger|below)",
        ("15 or younger", "12 and under"),
        ("30 or younger",),
    ),
    Rule(
        "turns",
        r"turn(?:s|ed|ing)? (?:<minor>(?:<free>|(?= (?:yesterday|now|this|last|next|years?)\b))|1[0-7] (?:yesterday"
        r"|now))",
        ("turned 15 today", "turns 16", "just turned thirteen"),
        ("turning 15 degrees", "turned 30", "a turn to the left"),
    ),
    Rule(
        "not yet an age",
        r"(?:(?:will|ll|won t|about to|going to|has not|hasn t|have not|haven t|not)(?: yet)?(?: be| turn| turned"
        r"| been)"
        r"|isn t|aren t|wasn t|is not yet) <most><free>",
        ("she will be sixteen", "he won't be eighteen", "about to turn 18", "has not yet turned 18"),
        ("it will be 16 feet tall", "she will be 30"),
    ),
    Rule(
        "birthday",
        r"<nth> birth ?day",
        ("a sixteenth birthday", "12th birthday"),
        ("21st birthday", "twenty-first birthday", "an 18th birthday"),
    ),
    Rule("sweet sixteen", r"sweet 16", ("sweet sixteen",), ("sweet peas",)),
    Rule(
        "born",
        r"born <minor> years? ago|born (?:in|on) (?:[a-z0-9]+ ){0,3}20(?:09|[1-9]\d)",
        ("born 12 years ago", "born in 2015"),
        ("born 30 years ago", "born in 1980"),
    ),
    Rule(
        "grade",
        r"<grade> (?:grade(?:rs?|s)?|formers?|form (?:pupil|student|class)\w*)"
        r"|(?:grade|year|form|class) <minor> (?:student|pupil|class|learner|kid)s?|in grade (?:1[0-2]|[1-9])",
        ("7th grade", "8th-graders", "a third grader", "a year 9 pupil", "a fifth-form pupil"),
        ("third floor", "a grade 5 bolt", "a first form of life"),
    ),
    Rule(
        "a person of an age",
        r"<one>(?:<gap> [,(\[:;-] ?<hedge>| of <hedge>| of an?<hedge>|<be>)<minor><ends>"
        r"|<one>(?:<be>| of <hedge>)<number><goeson>|<one> [,(\[:;-] ?<hedge><teen><goeson>|<one> <teen><free>",
        (
            "a woman, 15, smiling",
            "a man (16)",
            "she is 17",
            "a woman who is 16",
            "a woman of just 16",
            "a bare woman who is 14 in flat style",
            "a woman 16",
            "she's 16",
            "she was twelve in a garden",
        ),
        (
            "a woman, 45, in a garden",
            "a woman, 16:9",
            "woman, 4 birds",
            "Iron Man 3",
            "he is 10 feet tall",
            "a model 3",
        ),
    ),
    Rule(
        "people of an age",
        r"<many><be>(?:<number>(?:<ends>|<doing>)|(?:<teen>|[3-9]\b)<goeson>)|(?:i|we)<be><number><goeson>",
        ("they are 12", "they're only 13, smiling", "i am 15 and bare", "they were both twelve"),
        ("they are 45", "they are two metres apart", "models are 3 of a kind"),
    ),
    Rule(
        "is an age",  # the subject may be any name
        r"(?:is|looks?|looking|seems?|appears?|appearing)(?: like| to be)? <hedge><teen><free>",
        ("Anna is 14", "who looks like 14", "the model is 15"),
        ("Anna is 30", "the room is 14 metres long"),
    ),
    Rule(
        "an age between commas",
        r"[a-z]+ , <hedge><teen> (?=[,.)])",
        ("a skater, 13, in mid-air",),
        ("a skater, 30, in mid-air", "lens f/11, ISO 100", "numbers 3, 12, 15"),
    ),
    Rule(
        "an age before a person",
        r"(?<!\d )(?<!\d : )1[3-7] (?:woman|lady|female|gal|actress|guy)",
        ("a 16 woman", "barely 15 woman", "16 female"),
        ("16:15 woman", "30 woman"),
    ),
    Rule(
        "when someone was an age",
        r"when (?:i|he|she|they|we|you) <hedge>(?:was|were) <hedge><minor><free>|at <teen><gap> (?:she|he|they|i|we)",
        ("when he was nine", "at seventeen she sailed"),
        ("at 12 the bell rang", "when she was 30"),
    ),
    Rule(
        "summers",
        r"<minor> (?:summers|winters|springs)",
        ("a prince of twelve summers",),
        ("30 summers", "twelve sunny days"),
    ),
    Rule(
        "years, of a person",
        r"<minor> ?(?:<years>|y) ?<person>|<one>(?:<be>|<gap> [,(\[:;-] ?| of <hedge>| )<minor> ?(?:<years>"
        r"|y)(?!<past>)",
        ("14yr woman", "a person of 14 years", "a female 14 yrs", "a person of fifteen years"),
        ("a man 3 years later", "25 years woman"),
    ),
    Rule(
        "years, bare",
        r"<span><minor> ?yrs?<goeson>|, <minor> years<goeson>|<span><minor> ?(?:years|yrs?)(?! ?[\w])",
        ("14 yrs", "a nude, 14 years", "14 years, smiling"),
        ("ready in 14 years", "over 10 years, she built it", "the first 3 years, in colour", "14 years of war"),
    ),
    Rule(
        "in the nth year",
        r"in (?:her|his|their) <nth> year(?! (?:of|as|at|on)\b)",
        ("in her 15th year", "in his sixteenth year"),
        ("in his 15th year as king", "in her 40th year"),
    ),
)

ENGLISH = Language(
    name="English",
    numbers=Numbers(NUMBERS, joints=("and",), ordinals=ORDINALS),
    rules=(*_PHRASES, *_AGES),
    parts=_PARTS,
    split=r"(?:year|yr)s?(?:old)?(?!\w)",  # "twelveyearsold"
)
