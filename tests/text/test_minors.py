"""What counts as a mention of minors."""

from __future__ import annotations

import time

import pytest

from pruneguard.atelier import world
from pruneguard.text.minors import MAX_LENGTH, mentions_minors

REFUSED = """
a child|children playing|two kids|a kid's hat|teens|a teenager|babies|toddlers|a schoolgirl|a school girl
boys|GIRL|an under-age person|underage|a high-schooler|a third grader|youths|a lad|two lasses|father and son
daughters|a school pupil|a high school student|Junior High|kindergarten|pre-school|young ones|in puberty|a teen girl
babygirl|TeenGirl|#younggirls|👧|👨‍👩‍👦|7th grade|8th-graders|a year 9 pupil|a sixteenth birthday|12th birthday
a 15 year old|15-year-old|15yo|15 y/o|15 y.o.|a 16yr old|a 9 years old|8 yrs old|17 years of age|aged 12|age 12|age: 9
aged seventeen|fifteen year old|twelve-year-olds|under 18|under eighteen|younger than 16|6 month old baby
15 yo|14 y o|14 y-o|14.year.old|14/year/old|14 year's old|9.5 years old|17,5 years old|nine and a half years old
8-20 years old|10 to 12 years old|xiv years old|Ⅻ years old|⑭ years old|٤ years old|1️⃣4️⃣ years old
12 y3ars 0ld|a year old human|a woman, 15, smiling|a man (16)|she is 17|a person of 14 years|a female 14 yrs|14yr woman
under the age of 16|less than 17|<18|not yet 18|not 18|not of legal age|turned 15 today|turns 16|born 12 years ago
a woman who is 16|a bare woman who is 14 in flat style|a man that's just 17|she's 16|the model is 15|a woman 16
they are 12|they're only 13, smiling|i am 15 and bare|a lady, barely 17|she was twelve in a garden|14 yrs
a nude, 14 years|a woman of just 16|Anna is 14|a woman who looks like 14
barely 15 woman|a 16 woman|16 female|a year nine student|not even 16|a woman who is sixteen|she is 17 in a red dress
a preadolescent|in her 15th year|in his sixteenth year|a woman who looks 15|a person of fifteen
a k1d|ch1ld|t33n|g!rl|a b@by|c h i l d|c.h.i.l.d|a c-h-i-l-d portrait|m.i.n.o.r.s|chi-ld|ch.ild|G I R L|kiiids
ｃｈｉｌｄ|chíld|ki\u200bd|\u0441hild|chiId|gir1|girI|giirl|9irl|8oy|6aby|ch¡ld|g*rl|t**n|k#d|gi rl|ch ild|c'h'i'l'd
chilld|juuvenile|twelveyearsold|aged one|k i d s|ǥirl|gⅰrl|ʙᴏʏ|🅱🅾🆈|🇰🇮🇩|kıd|кид|ցirl|ꮯhild|g̷i̷r̷l̷
"""
UNITS = (
    *("a ", "1", "a.b-", "9 years ", "x", "q w e r t z ", "1 year…", "age" + " " * 100, "111 ", "8-", "½", "a*b ", "!"),
    *(
        "\u2800",
        "\U0001d800",
        "\u0301",
        "👍",
        "各",
        "각",
        "лет ",
        "twenty and ",
        "she is only ",
        "baby black ",
        "l i l ",
    ),
)
ALLOWED = """
a red star in flat style|a bare mannequin in flat style|adult woman|18 year old building|a 2,000 year old temple
10 000 year old cave|1000-year-old oak|a 45-year-old man|aged 30|a woman aged 21|age of 18|thirty-two years old
twenty one years old|forty-five year old|one hundred years old|eighteen-year-old|a man in his 20s|over 18
a woman, 45, in a garden|a man (52)|a woman, 16:9|portrait of a man, 8k|woman, 4 birds|a man 3 years later
20-year-old woman|20yo man|25 y o|aged nineteen|aged sixty|aged six hundred years|one hundred and five year old oak
21st birthday|twenty-first birthday|ice age 3D render|under 18 degrees|less than 15 minutes|turning 15 degrees
a 15 cm figure|16 years later|the 15th century|third floor|18+|louis xiv chair|i am 30 years old|two stars|1/2|a * b
season|song|salad|ladder|glass|captain kidd|loll about|soon|a 5 min or less sketch|skid|girdle|youngest|tall ship
a kidney|kidskin gloves|a cowboy|boyfriend|a steam engine|a canteen|minority report|youthful|the age of reason
Bronze Age 1200 BC|3 years later|a 5 minute sketch|12 string guitar|16 bit pixel art|8k photo|page 12|a b c d e
Iron Man 3|a man 5 meters away|she is one of the greatest|he is 10 feet tall|they are two in a boat|ready in 14 years
aged for 12 years|over 10 years, she built it|a woman is 2 times taller|in his 15th year as king
the first 3 years, in colour|14 years of war
a woman who is 24 in flat style|she's 30|they are 45|a minor key|a model 3|models are 3 of a kind|he is 7 times champion
wide shot, a castle|a portrait shot as an oil painting|a photo shoot, a model|a woman in fancy dress|lol i like it
"""


# No exemption opens a door: another mention stands beside it, the noun goes on, or the spelling is disguised.
STILL_REFUSED = """
a baby giraffe and a girl|a girl in a giraffe costume|a kitten girl|a baby doll dress|a baby fox girl|a baby fox woman
a baby blue girl|a baby in blue|a minor, key in hand|a minor changes clothes|a 12-year-old dog owner|baby tiger onesie
a baby giraffe costume|baby cat ears|a kid goat boy|the baby ducks under a table|interest in a minor|b a b y giraffe
bаby giraffe|a 12-year-old in a giraffe costume|a twelve year old dragon trainer|a baby dragon rider|a baby, giraffe toy
20 five-year-old gymnasts|a newborn and a lamb|a baby giraffe human hybrid|a 12-year-old wine taster|a goat kid girl
"""
EXEMPT = """
a baby giraffe|a mother and baby giraffe by a wall|baby giraffes in a zoo|two baby black sheep in a barn|ducklings
a mother duck and baby ducks|two kid goats|a baby blue wall|a minor key|minor changes|a newborn foal|a baby dragon
a 12-year-old whisky|a 3 month old puppy in a basket|a woman in front of a baby elephant|a baby polar bear cub on ice
white kid gloves|baby carrots|a baby grand piano|a sonata in c minor|a ten-year-old car in a barn
"""


def items(text: str) -> list[str]:
    return [item for line in text.strip().splitlines() for item in line.split("|")]


@pytest.mark.parametrize("text", items(REFUSED))
def test_refused(text: str) -> None:
    text = text.encode().decode("unicode_escape") if "\\u" in text else text
    for prompt in (text, f"a fine painting of {text}, in flat style", f"{text} in flat style"):
        assert mentions_minors(prompt), prompt


@pytest.mark.parametrize("text", items(ALLOWED))
def test_allowed(text: str) -> None:
    assert not mentions_minors(text)


@pytest.mark.parametrize("text", items(STILL_REFUSED))
def test_an_exemption_opens_no_door(text: str) -> None:
    assert mentions_minors(text)


@pytest.mark.parametrize("text", items(EXEMPT))
def test_what_is_no_person_is_allowed(text: str) -> None:
    assert not mentions_minors(text)


def test_all_captions_of_atelier_are_allowed() -> None:
    captions = {scene.caption(template) for scene in world.scenes() for template in world.TEMPLATES}
    assert [caption for caption in captions if mentions_minors(caption)] == []


@pytest.mark.parametrize("unit", UNITS)
def test_the_longest_prompts_are_read_in_a_moment(unit: str) -> None:
    text = (unit * 2000)[:2000]
    assert fastest(text) < 0.1  # benchmarks/minors.py searches for the slowest text and measures it


def test_a_text_that_grows_too_long_when_written_out_is_refused() -> None:
    assert mentions_minors("\u2800" * 2000)
    assert mentions_minors("a " * (MAX_LENGTH // 2) + "b")
    assert not mentions_minors("⭐" * 20 + "a " * 980)


def test_a_mention_is_found_at_the_end_of_the_longest_prompt() -> None:
    assert mentions_minors("q " * 900 + "c h i l d")
    assert mentions_minors("x" * 1990 + " aged 12")


def fastest(text: str) -> float:
    """The least processor time in seconds of some readings."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        mentions_minors(text)
        times.append(time.thread_time() - began)
    return min(times)
