"""English statements of an age below eighteen. `english` has the parts of the patterns, written <name>."""

from __future__ import annotations

from pruneguard.text.rules import Rule

AGES = (
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
        r"before the age of <most>"
        r"|(?:less than|not|before|not over|not? more than|barely|not even|hardly) 1[3-8](?!\d)<count>",
        ("less than 17", "not 18", "barely 15 woman", "not even 16"),
        ("less than 15 minutes", "less than 15 % of it", "not 12", "not 30"),
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
        r"turn(?:s|ed|ing)? <minor>(?:<free>|(?= (?:yesterday|now|this|last|next|years?)\b))",
        ("turned 15 today", "turns 16", "just turned thirteen"),
        ("turning 15 degrees", "turned 30", "a turn to the left"),
    ),
    Rule(
        "not yet an age",
        r"(?:(?:will|ll|won t|about to|going to|has not|hasn t|have not|haven t|not)(?: yet)?(?: be| turn| turned"
        r"| been)|isn t|aren t|wasn t|is not yet) <most><free>",
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
        "born",  # those born in 2008 turn eighteen in 2026
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
        r"(?<=[a-z] ), <hedge><teen> (?=[,.)])",
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
        r"<minor> ?(?:<years>|y) ?<person>"
        r"|<one>(?:<be>|<gap> [,(\[:;-] ?| of <hedge>| )<minor> ?(?:<years>|y)(?!<past>)",
        ("14yr woman", "a person of 14 years", "a female 14 yrs", "a person of fifteen years"),
        ("a man 3 years later", "25 years woman"),
    ),
    Rule(
        "years, bare",
        r"(?=<minor> ?y)<span><minor> ?(?:yrs?<goeson>|(?:years|yrs?)(?! ?\w))|, <minor> years<goeson>",
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
