"""Italian. "Bimbo" and "minore" count beside Italian words only: they mean other things elsewhere."""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("zero un due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici", 0),
    **counted("sedici diciassette diciotto diciannove", 16),
    **counted("venti trenta quaranta cinquanta sessanta settanta ottanta novanta", 20, 10),
    **{"cento": 100, "mille": 1000, "mila": 1000},
}

ITALIAN = Language(
    name="Italian",
    numbers=Numbers(NUMBERS),
    parts={"a": r"(?:un|uno|una|1|il|lo|la|i|gli|le|l|mio|mia|suo|sua|dei|degli|delle|due|2|tre|3|piccol[oaie])"},
    rules=(
        Rule(
            "girl or boy",
            r"ragazz(?:in|ett)?[aoie]|fanciull(?:in)?[aoie]|(?:<a> )bimbo|bimb[aei]|bimbett[aoie]|figli[aoe]?"
            r"|figliolett[aoie]",
            ("una ragazzina nel parco", "un fanciullo", "mia figlia", "un bimbo con il secchiello"),
            ("una donna nel parco", "a bimbo", "a bimbo in a bar"),
        ),
        Rule(
            "child",
            r"bambin(?:ett|ell)?[aoie]|neonat[aoie]|pargol(?:ett)?[aoie]|lattanti?|poppanti?|infanzia|bebè",
            ("bambini sulla spiaggia", "un neonato", "un pargolo"),
            ("bamboo", "an infantryman"),
        ),
        Rule(
            "teenager",
            r"adolescent[ei]|adolescenza|minorenn[ei]|minor[ei] (?:di|d) (?:<most>|età)|<a> minori(?! ?\w)"
            r"|preadolescent[ei]|(?:quattr|cinqu|sei|sett|ott|nov|dieci|undic|dodic|tredic|quattordic|quindic|sedic"
            r"|diciassett)enn[ei]",
            ("un'adolescente", "una minorenne", "minori di 18 anni", "una quindicenne", "un tredicenne"),
            ("il male minore", "una trentenne", "una diciottenne"),
        ),
        Rule(
            "pupil",
            r"scolar(?:ett)?[aoi]|scolaresca|alunn[aoie]|liceal[ei]|student(?:e|i|essa|esse) (?:delle|della|del"
            r"|di) (?:medie|superiori|liceo|scuola \w+)|scuol[ae] (?:elementar[ei]|medi[ae]|primari[ae]|matern[ae])"
            r"|asilo nido",
            ("una scolara con la cartella", "una studentessa delle medie", "un alunno"),
            ("una studentessa dell'università", "a scholar"),
        ),
        Rule(
            "years old",
            r"(?=<minor> ann)(?<!da )(?<!per )(?<!tra )(?<!dopo )(?<!whisky di )(?<!rum di )(?<!vino di )"
            r"<minor> ann(?:i|o|etti)(?! (?:di (?!età)\w+|d esperienza|fa|dopo|prima|più tardi)\b)"
            r"|età<gap>(?: di)? <minor>",
            ("quindici anni", "ha 14 anni", "diciassette anni", "età: 12"),
            ("25 anni", "trentacinque anni", "15 anni di esperienza", "dieci anni fa", "ventun anni"),
        ),
        Rule(
            "under an age",
            r"(?:meno di|sotto i|sotto gli) <most> anni|non ancora maggiorenn[ei]",
            ("meno di 18 anni", "non ancora maggiorenne"),
            ("meno di 30 anni", "meno di 5 euro"),
        ),
    ),
)
