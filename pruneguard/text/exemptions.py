"""Age words that speak of no person: a baby giraffe, baby blue, a minor key, a 12-year-old whisky.

An exemption takes the age word out of the text before any rule reads it, so every other mention still counts. It holds
in plain spelling only, for the nouns listed here, and not in a text that speaks of costumes, nakedness or half-humans.
"""

from __future__ import annotations

import re
from functools import cache

from pruneguard.text.rules import Rule

_ANIMALS = (
    r"(?:alligator|alpaca|antelope|beaver|bird|bison|buffalo|camel|cat|cattle|cheetah|chimpanzee|cow|crocodile"
    r"|deer|dinosaur|dog|dolphin|donkey|dragon|duckling|eagle|elephant|elk|flamingo|fox|frog|gazelle|giraffe|goat"
    r"|goose|gorilla|hamster|hedgehog|hippo|hippopotamus|horse|kangaroo|koala|lamb|leopard|lion|lizard|llama|meerkat"
    r"|monkey|moose|mouse|orangutan|ostrich|otter|owl|panda|penguin|pig|pony|puppy|rabbit|raccoon|reindeer|rhino"
    r"|rhinoceros|shark|sheep|sloth|snake|squirrel|swan|tiger|tortoise|turtle|walrus|whale|wolf|yak|zebra)"
)
_KINDS = (
    rf"(?:(?:{_ANIMALS}s?|ape|bear|duck|parrot|seal|foxes|geese|mice|ponies|puppies|wolves)"
    r"(?: (?:calf|calves|cubs?|pups?))?|calf|calves|foals?)"
)
_YOUNG = r"\b(?:baby|infant|newborn|juvenile|adolescent) "
_LOOKS = (
    r"(?:(?:little|small|tiny|big|cute|white|black|brown|gray|grey|yellow|red|golden|spotted|striped|fluffy|wild"
    r"|african|asian|arctic|polar|mountain|sea) )?"
)
# What may follow the noun. A noun that goes on, as in "baby fox woman" or "dog owner", is not exempt.
_ENDS = (
    r"(?=[.,;:!?)]|$| (?:and|or|in|on|at|of|by|with|near|next|beside|behind|under|over|from|to|as|is|are|was|were|that"
    r"|which|through|against|inside|outside|among|along|up|down|being|crossing|crying|drinking|eating|feeding|following"
    r"|grazing|hatching|investigates|leaning|licking|looking|looks|lying|laying|napping|nursing|pictured|playing"
    r"|resting|running|sitting|sleeping|sniffing|sniffs|standing|stands|swimming|walking|walks)\b)"
)
# After an article these may be verbs: "the baby ducks under a table", "a minor changes clothes".
_NO_ARTICLE = r"(?<!\ba )(?<!\bthe )(?<!\bthis )(?<!\bthat )(?<!\bmy )(?<!\bhis )(?<!\bher )(?<!\btheir )(?<!\bour )"
_AGE = (
    r"(?:\d+|[a-z]+(?:-[a-z]+)?)[ -](?:year|month|week|day)s?[ -]old (?=(?:(?:little|small|big|white|black|brown|gray"
    r"|grey|red|blue|green|golden|rescue|german|scottish|irish|french|japanese|single|malt|aged|rusty|used|wooden"
    r"|brick|stone|apple|maple|pine|olive) ){0,2}"
)

EXEMPTIONS = (
    Rule(
        "young animal",
        rf"{_YOUNG}(?={_LOOKS}{_KINDS}{_ENDS})|{_NO_ARTICLE}{_YOUNG}(?={_LOOKS}(?:apes|bears|ducks|parrots"
        rf"|seals){_ENDS})",
        (
            "a baby giraffe",
            "two baby black sheep in a barn",
            "an adult and baby giraffe walking",
            "two baby ducks in a pond",
        ),
        (
            "a baby fox girl",
            "a baby fox woman",
            "a baby giraffe costume",
            "a baby with a giraffe",
            "a baby chick",
            "the baby ducks under a blanket",
        ),
    ),
    Rule(
        "young goat",
        rf"\bkids?(?= goats?{_ENDS})|(?<=\bgoat )kids?\b{_ENDS}",
        ("a kid goat", "two goat kids in a field"),
        ("a kid with a goat", "a goat kid girl"),
    ),
    Rule(
        "colour",
        r"\bbaby (?=(?:blue|pink|yellow|green)\b)",
        ("a baby blue wall", "a baby pink car"),
        ("a blue baby", "a baby in blue"),
    ),
    Rule(
        "food and things",
        r"\bbaby (?=(?:carrot|potato|potatoe|tomatoe|beet|artichoke|eggplant|corn|octopu|green)s?\b"
        r"|(?:spinach|kale|arugula|bok choy|greens|leaves|grand piano|back ribs)\b)"
        r"|\bbaby'?s (?=breath (?:flower|bouquet|spray|stem)s?\b)",
        ("baby carrots on a plate", "a baby grand piano"),
        ("a baby at a piano", "a baby with carrots", "a baby doll"),
    ),
    Rule(
        "kid leather",
        r"\bkid (?=(?:leather|gloves|suede)\b)",
        ("white kid gloves",),
        ("a kid in gloves",),
    ),
    Rule(
        "minor as an adjective",
        r"\bminor (?=(?:key|scale|chord|third|triad|change|detail|scratch|adjustment|repair|league|planet|avalanche"
        r"|flaw"
        rf"|difference|improvement|correction|variation|damage)\b)|{_NO_ARTICLE}\bminor (?=(?:key|scale|chord|change"
        rf"|detail"
        r"|scratche|adjustment|repair|league|planet|avalanche|flaw|difference|improvement|correction|variation)s\b)",
        ("a minor key", "after minor changes", "a minor league stadium"),
        ("a minor in a league", "a minor with a key", "a minor changes clothes", "the minor scales a wall"),
    ),
    Rule(
        "minor in a name",
        r"(?<=\bursa )minor\b|(?<=\bcanis )minor\b|(?<=\basia )minor\b|(?<=\bin [b-g] )minor\b"
        r"|(?<=\bin [a-g][ -]flat )minor\b|(?<=\bin [a-g][ -]sharp )minor\b",
        ("a map of asia minor", "ursa minor at night", "a sonata in c minor", "a nocturne in e-flat minor"),
        ("c, a minor", "a minor in a room", "interest in a minor"),
    ),
    Rule(
        "age of an animal",
        rf"\b{_AGE}(?:{_KINDS}|kittens?|hens?|labrador|retriever){_ENDS})",
        ("a 3-year-old horse", "a six week old puppy on a sofa"),
        ("a 12-year-old horse rider", "a 12-year-old with a dog"),
    ),
    Rule(
        "age of a thing",
        rf"\b{_AGE}(?:whisky|whiskey|scotch|bourbon|rum|brandy|cognac|wine|port|cheese|cheddar|bread|beard|stubble|snow"
        r"|tree|oak|bonsai|vine|car|truck|tractor|bicycle|motorcycle|ship|boat|house|building|barn|bridge|church"
        rf"|laptop|computer|phone|company|newspaper|photo|photograph)s?{_ENDS})",
        ("a 12-year-old single malt whisky", "a ten-year-old car in a barn", "a three-day-old beard"),
        ("a 12-year-old car driver", "a 12-year-old on a boat", "a 12-year-old model"),
    ),
)

_AGE_WORD = re.compile(r"baby|infant|newborn|juvenile|adolescent|kid|minor|[ -]old")
_VOID = re.compile(
    r"costume|cosplay|onesie|\bears?\b|\btails?\b|lingerie|bikini|underwear|pant(?:y|ies)\b|\bbra\b|corset|stocking"
    r"|nud(?:e|ity)|naked|topless|undress|nsfw|sex|erotic|hentai|anthro|furry|furries|kemono|humanoid|\bhumans?\b"
    r"|hybrid"
)


def without_exempt(text: str) -> str:
    """The text in lower case, without the age words that are exempt."""
    lower = text.lower()
    if not _AGE_WORD.search(lower) or _VOID.search(lower):
        return lower
    return _words().sub("", lower)


@cache
def _words() -> re.Pattern[str]:
    """All exemptions in one pattern."""
    return re.compile("|".join(f"(?:{exemption.pattern})" for exemption in EXEMPTIONS))
