"""German. "Kind", "Junge" and "Bub" count beside German words only: English has "kind" and "bub"."""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn", 0),
    **counted("sechzehn siebzehn achtzehn neunzehn zwanzig", 16),
    **{"fuenf": 5, "zwoelf": 12, "fuenfzehn": 15, "hundert": 100, "tausend": 1000},
}

_PARTS = {
    "my": r"(?:ein|das|dem|dieses|jedes|kein|mein|dein|sein|ihr|unser|kleines|junges|schlafendes|spielendes|als|vom"
    r"|und)",
    "the": r"(?:ein|der|dem|den|dieser|diesem|mein|sein|ihr|kleiner|kleinen|2|3|4|einige|mehrere)",
    "then": r"(?:an|am|auf|aus|bei|beim|hinter|im|in|ist|isst|liest|mit|neben|sitzt|spielt|spielen|steht|und|unter"
    r"|vor|der)",
}

GERMAN = Language(
    name="German",
    numbers=Numbers(NUMBERS),
    split="jae?hrig",  # "fünfzehnjährig" is read as a number and a word
    parts=_PARTS,
    rules=(
        Rule(
            "girl",
            r"mädchen(?:s|haft\w*)?|maedchen(?:s|haft\w*)?|mäd(?:e|er)?ls?|maedels?|töchter(?:chen|lein)?n?|toechter"
            r"|tochter",
            ("ein Mädchen im Park", "zwei maedchen", "meine Tochter"),
            ("eine Frau im Park", "ein Mädesüß"),
        ),
        Rule(
            "boy",
            r"jungs|knaben?|<the> jungen?(?! ?\w)|<the> jungen? <then>|<the> bub(?:en)?|buben|(?:<the>|und"
            r"|unser) sohn(?:es)?|sohne|söhnen?|soehne",
            ("ein Junge mit Ball", "der kleine Knabe", "zwei Jungen spielen", "Vater und Sohn"),
            ("eine junge Frau", "der junge Mann am See", "hey bub", "die jungen Frauen"),
        ),
        Rule(
            "child",
            r"<my> kind(?:es|ern?)?|(?<!\ba )(?<!\bbe )(?<!\bis )kinder[ns]?(?! than\b)|kindheit|kindlich\w*|kindes"
            r"|(?:klein|schul|enkel|stief|vorschul|grundschul|waisen)kind(?:es|ern?)?|neugeborene[mnrs]?"
            r"|s(?:ä|ae)ugling(?:e|en|s)?|babys",
            ("das Kind spielt", "Kinder im Schnee", "ein Kleinkind", "ein Säugling", "Neugeborene"),
            ("a kind man", "one of a kind", "be kinder", "a kinder world", "so kind"),
        ),
        Rule(
            "teenager",
            r"jugendliche[mnrs]?|minderjährig\w*|minderjaehrig\w*|minder jae?hrig\w*|teenies?|pubertät|pubertaet"
            r"|heranwachsende[mnrs]?|(?:noch )?nicht volljae?hrig|noch nicht erwachsen|nicht voll jae?hrig",
            ("Jugendliche vor dem Kino", "eine Minderjährige", "noch nicht volljährig"),
            ("die Jugend von 1900", "volljährig"),
        ),
        Rule(
            "pupil",
            r"sch(?:ü|ue)ler(?:in|innen|n|s)?|grundschul\w*|schulm(?:ä|ae)dchen|schuljungen?|gymnasiast(?:en|in|innen)?"
            r"|kindertagesst\w+|schulklassen?",
            ("eine Schülerin mit Rucksack", "Schueler", "eine Grundschule"),
            ("eine Hochschule", "die alte Schule"),
        ),
        Rule(
            "years old",
            r"<minor> jahren? (?:alt\w*|jung\w*)|ein jahr alt\w*|<minor>(?: und| bis| oder| to)*(?: \d+)? jae?hrig\w*"
            r"|im alter von <minor>|alter<gap> <minor>",
            ("15 Jahre alt", "ein 15-jähriger Junge", "eine Fünfzehnjährige", "im Alter von 13 Jahren", "Alter: 14"),
            ("18 Jahre alt", "fünfundzwanzigjährig", "15 Jahre Garantie", "eine 300 Jahre alte Eiche", "einmalig"),
        ),
        Rule(
            "under an age",
            r"(?:unter|jünger als|juenger als) <most>(?: jahren?)?(?! (?:euro|grad|kilo\w*|meter\w*|minuten|sekunden"
            r"|°))",
            ("unter 18 Jahren", "jünger als sechzehn"),
            ("unter 18 Grad", "unter 30 Jahren"),
        ),
        Rule(
            "is an age",
            r"(?:sie|er|es|ich) (?:ist|bin|war|wird|wurde) (?:(?:erst|gerade|nur|fast|knapp|schon"
            r"|noch) )*<minor>(?: jahre)?(?! ?[\w:%°])|(?<=[a-z] ), <minor> jahre(?! ?\w)",
            ("sie ist vierzehn", "er wird 12", "Porträt, 11 Jahre, blond"),
            ("sie ist dreißig", "er ist 12 Meter lang"),
        ),
        Rule(
            "birthday",
            r"(?:<minor> \.|<minor>\.|(?:erste|zweite|dritte|vierte|fünfte|sechste|siebte|achte|neunte|zehnte|elfte"
            r"|zwölfte|dreizehnte|vierzehnte|fünfzehnte|sechzehnte|siebzehnte)[mnrs]?) geburtstag",
            ("ihr zehnter Geburtstag", "zum 12. Geburtstag"),
            ("zum 50. Geburtstag", "ein Geburtstag"),
        ),
    ),
)
