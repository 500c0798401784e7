"""German. "Kind" and "Bub" count beside German words only, for English has them too; "junge" may be an adjective."""

from __future__ import annotations

from pruneguard.text.disguises import unmarked
from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.patterns import any_of, not_after
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn", 0),
    **counted("sechzehn siebzehn achtzehn neunzehn zwanzig", 16),
    **{"fuenf": 5, "zwoelf": 12, "fuenfzehn": 15, "hundert": 100, "tausend": 1000},
}

# fmt: off
_SMALL_WORDS = (
    "auf", "aus", "bei", "beim", "das", "dessen", "ein", "eine", "einem", "einen", "einer", "eines", "für",
    "hinter", "ihr", "ihre", "ihrem", "ihren", "ihrer", "ist", "kein", "keine", "mein", "meine", "meinem",
    "neben", "nicht", "ohne", "sehr", "sein", "seine", "seinem", "seinen", "seiner", "sich", "sind", "und", "unser",
    "unsere", "unter", "vom", "vor", "zum", "zur", "zwei", "zwischen",
    "fährt", "geht", "hält", "isst", "lacht", "lächelt", "läuft", "lernt", "liest", "rennt", "schaut",
    "schläft", "singt", "sitzt", "spielen", "spielt", "springt", "steht", "tanzt", "trägt", "weint", "winkt",
    "lachend", "lächelnd", "lesend", "rennend", "schlafend", "sitzend", "spielend", "stehend", "weinend",
)
_SIGNS = (
    *_SMALL_WORDS,
    "aquarell", "bildnis", "bleistift", "farbe", "farben", "gemälde", "hintergrund", "kerzenlicht", "kohlezeichnung",
    "licht", "nahaufnahme", "oelgemaelde", "ölgemälde", "porträt", "skizze", "sonnenlicht", "zeichnung",
    "allein", "blaue", "blauer", "blaues", "braunhaarig", "gelbe", "gelber", "gelbes", "glücklich", "grüne",
    "grüner", "grünes", "klein", "kleine", "kleiner", "kleines", "rote", "roter", "rotes", "rothaarig", "schwarz",
    "traurig", "weiche", "weiches", "weisse", "weisser", "weisses",
    "abend", "augen", "berge", "blumen", "brille", "fahrrad", "frau", "frühling", "garten", "haare", "herbst",
    "himmel", "hund", "jacke", "katze", "kleid", "laterne", "mantel", "meer", "mütze", "nacht", "pferd",
    "regen", "schnee", "schule", "sommer", "sonne", "spielplatz", "spielzeug", "stadt", "strasse", "vater", "wald",
    "wasser", "wiese", "zöpfe",
)
# English words before the English "kind".
_BEFORE_ADJECTIVE = (
    "a", "ages", "an", "and", "another", "any", "are", "as", "be", "becomes", "been", "being", "but", "charles",
    "clothes", "comes", "different", "does", "every", "eyes", "faces", "first", "gestures", "gives", "goes", "her",
    "his", "hopes", "houses", "how", "images", "in", "is", "james", "judges", "likes", "lines", "loves", "makes",
    "more", "most", "my", "no", "nurses", "of", "one", "our", "ourselves", "own", "poses", "right", "same", "seems",
    "sees", "series", "shoes", "smiles", "so", "some", "sometimes", "such", "takes", "that", "the", "their",
    "themselves", "these", "this", "times", "to", "too", "uses", "values", "very", "voices", "was", "were", "what",
    "wishes", "yes",
)
# fmt: on

_PARTS = {
    "my": r"(?:ein|das|dem|dieses|jedes|kein|mein|dein|sein|ihr|unser|kleines|junges|schlafendes|spielendes|als|vom"
    r"|und)",
    # Not after a word that shows "kind" to be the English one.
    "noun": not_after(_BEFORE_ADJECTIVE),
    # After "kind ," at the start of a text, these show that it is the English adjective.
    "person": (
        r"(?:(?: ,| [a-z]+){0,6} (?:eyes|face|father|friend|gentleman|grandfather|grandmother|hands|heart|king|lady"
        r"|man|men|mother|nurse|people|person|queen|smile|soul|woman|women|words))"
    ),
    # After "junge ,", these show that it is an adjective, as in "junge, elegante Dame".
    "adult": (
        r"(?:(?: ,| und| \w+e[mnrs]?){1,5} (?:braut|damen?|frau(?:en)?|herr(?:en)?|hunde?|katzen?|leute|mann"
        r"|m(?:ä|ae)nner|menschen|mutter|paar|personen|\w+in(?:nen)?))"
    ),
    "the": r"(?:ein|der|dem|den|dieser|diesem|mein|sein|ihr|kleiner|kleinen|2|3|4|einige|mehrere)",
    "then": any_of(map(unmarked, ("am", "an", "dem", "der", "im", "in", "malt", "mit", "von", "wie", *_SMALL_WORDS))),
}

GERMAN = Language(
    name="German",
    numbers=Numbers(NUMBERS),
    split="jae?hrig",  # "fünfzehnjährig" is read as a number and a word
    parts=_PARTS,
    signs=_SIGNS,
    letters="äöüß",
    rules=(
        Rule(
            "girl",
            r"mädchen\w*|maedchen\w*|mäd(?:e|er)?ls?|maedels?|töchter(?:chen|lein)?n?|toechter"
            r"|tochter|enkelin(?:nen)?",
            ("ein Mädchen im Park", "zwei maedchen", "meine Tochter", "Enkelin, Aquarell"),
            ("eine Frau im Park", "ein Mädesüß"),
        ),
        Rule(
            "boy",
            r"jungs|knaben?|jungen?(?!<adult>)(?:<alone>| <then>)|(?:blond|brav|braunhaarig|frech|klein|lachend"
            r"|lächelnd|rothaarig|schlafend|spielend|traurig)er junge|<the> bub|(?<=er )bub"
            r"|<start>bub(?:<alone>| (?:am|im)\b)"
            r"|bub (?:mit|<sign>)|(?:laus|schul)?buben|(?:laus|schul)bub|bengel|knirpse?"
            r"|(?:bauern|dorf|fischer|hirten|lauf|nachbars|sänger|stall|waisen|zeitungs)(?:junge|knabe|bube)n?"
            r"|(?:enkel|stief)?sohn(?:es)?|(?:enkel|stief)?s(?:ö|oe)hne?n?|s(?:ö|oe)hn(?:chen|lein)"
            r"|<tag>enkel(?: <then>|<alone>)|(?:mein|dein|sein|ihr|und) enkel",
            (
                "ein Junge mit Ball",
                "der kleine Knabe",
                "zwei Jungen spielen",
                "Vater und Sohn",
                "blonder Junge",
                "1 Junge, Kreide",
                "Junge am Zaun, Kreide",
                "kleiner Sohn",
                "Sohn, Kreide",
                "blonder Bub",
                "Bub",
                "Nachbarsjunge",
            ),
            (
                "eine junge Frau",
                "der junge Mann am See",
                "hey bub",
                "die jungen Frauen",
                "junge Birken, Nebel",
                "eine junge, kluge Frau",
                "Junge und alte Menschen",
            ),
        ),
        Rule(
            "child",
            r"<my> kind(?:es|ern?)?|(?<!\ba )(?<!\bbe )(?<!\bis )kinder[ns]?(?! than\b)|kindheit"
            r"|kinder(?!dijk|hook)\w\w+|kindlich\w*|kindes"
            r"|(?=kind (?:mit|<sign>)\b)<noun>kind"
            # After these it is the English word: "kind in spirit".
            r"|<start>kind(?= (?:am|an|im|in)\b(?! (?:a|all|character|deed|every|heart|her|his|my|nature|spirit|the"
            r"|word)\b)"
            r"|<alone>(?!<person>))"
            # After an adjective: "blondes Kind".
            r"|(?<=es )<noun>kind(?! (?:acts?|and|but|enough|gestures?|hearts?|of|or|men|people|person|sir"
            r"|souls?|to|with|women|words)\b)"
            r"|(?:bauern|dorf|einzel|geburtstags|krabbel|nachbars|paten|pflege|wickel)kind(?:es|ern?)?"
            r"|(?:klein|schul|enkel|stief|vorschul|grundschul|waisen)kind(?:es|ern?)?|neugeborene[mnrs]?"
            r"|s(?:ä|ae)ugling(?:e|en|s)?|babys",
            (
                "das Kind spielt",
                "Kinder im Schnee",
                "ein Kleinkind",
                "ein Säugling",
                "Neugeborene",
                "Kind",
                "Kind, Kreide",
                "blondes Kind",
                "Kind am Strand",
                "Kinderporträt",
                "foto, kind mit ball",
            ),
            (
                "a kind man",
                "one of a kind",
                "be kinder",
                "a kinder world",
                "so kind",
                "kind man",
                "a kind of blue",
                "Kind, gentle old man",
                "her eyes kind and calm",
                "an old woman, kind in spirit",
                "stay humble, be kind",
                "kind in spirit",
                "windmills of Kinderdijk",
            ),
        ),
        Rule(
            "child or boy, in doubt",
            r"(?=kind(?:<alone>| (?:a[mn]|des|der|die|i[mn]|von|wie)\b))<noun>kind"
            r"|(?!(?:hu)?mankind|womankind|unkind)\w{3,}kind(?:er[ns]?|es)?|bub(?:<alone>| (?:am|im)\b)",
            (
                "Foto, Kind, Pfütze",
                "Sommer: Kind in Gummistiefeln",
                "Geschwisterkind auf Schaukel",
                "Kreide und Kohle, Kind",
                "Sommer, Bub",
            ),
            (
                "gentle, kind, calm",
                "MIT professor, kind",
                "kind man, Schloss Neuschwanstein für Gäste",
                "mankind, Ölgemälde",
                "hey bub",
            ),
            doubtful=True,
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
            r"|(?:erst|zweit|dritt|viert|fünft|sechst|siebt|acht|neunt|zehnt)kl(?:ä|ae)ssler(?:in|innen|n)?"
            r"|abc sch(?:ü|ue)tzen?|kindertagesst\w+|schulklassen?",
            ("eine Schülerin mit Rucksack", "Schueler", "eine Grundschule", "Zweitklässler, Pausenhof"),
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
