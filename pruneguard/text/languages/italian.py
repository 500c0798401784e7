"""Italian. "Bimbo" and "minore" count beside some words only: English has "bimbo", and "minore" means smaller."""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("zero un due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici", 0),
    **counted("sedici diciassette diciotto diciannove", 16),
    **counted("venti trenta quaranta cinquanta sessanta settanta ottanta novanta", 20, 10),
    **{"cento": 100, "mille": 1000, "mila": 1000},
}

# fmt: off
_SIGNS = (
    "degli", "della", "delle", "dello", "gli", "mio", "nel", "nella", "nello", "su", "sua",
    "sul", "sulla", "suo", "una", "uno",
    "addormentata", "addormentato", "felice", "seduta", "seduto", "sorridente", "triste",
    "acquerello", "carboncino", "dipinto", "disegno", "fotografia", "luce", "matita", "olio", "ritratto", "tela",
    "allegro", "azzurra", "azzurro", "bianca", "biondo", "blu", "bruna", "castano", "giallo", "moro",
    "riccio", "rossa", "rosso", "straniero", "verde",
    "autunno", "bicicletta", "bosco", "capelli", "cappello", "cielo", "gatto", "giardino", "inverno", "madre",
    "neve", "nonna", "nonno", "occhi", "padre", "palloncino", "papà", "pioggia", "prato", "primavera",
    "scuola", "spiaggia", "strada", "vestito",
)
# fmt: on

ITALIAN = Language(
    name="Italian",
    numbers=Numbers(NUMBERS),
    parts={"a": r"(?:un|uno|una|1|il|lo|la|i|gli|le|l|mio|mia|suo|sua|dei|degli|delle|due|2|tre|3|piccol[oaie])"},
    signs=_SIGNS,
    letters="àèìòù",
    rules=(
        Rule(
            "girl or boy",
            r"ragazz(?:in|ett)?[aoie]|fanciull(?:in)?[aoie]|(?:<a>|bel|dolce|quel|questo) bimbo|<start>bimbo<alone>"
            r"|bimbo (?:al|alla|bravo|che|con|di|dai|dal|e|piccolo|solo|<sign>)|bimb[aei]|bimbett[aoie]|figli[aoe]?"
            r"|figli?olett[aoie]|figliol[aeio]|nipotin[aeio]|fratellin[io]|sorellin[ae]|giov[ai]nett[aeio]|garzoncell[io]|monell[aeio]",
            (
                "una ragazzina nel parco",
                "un fanciullo",
                "mia figlia",
                "un bimbo con il secchiello",
                "bimbo biondo",
                "bimbo, gesso",
                "bimbo",
                "sorellina, gesso",
            ),
            ("una donna nel parco", "a bimbo", "a bimbo in a bar", "Bimbo bakery", "Grupo Bimbo, logo"),
        ),
        Rule(
            "boy, in doubt",
            r"(?<!\ba )(?<!\bgrupo )bimbo<alone>",
            ("gesso, bimbo, luce calda",),
            ("a bimbo, Lo Spazio", "pink dress, bimbo"),
            doubtful=True,
        ),
        Rule(
            "child",
            r"bambin(?:ett|ell)?[aoie]|neonat[aoie]|pargol(?:ett)?[aoie]|lattanti?|poppanti?|infanzia|bebè"
            r"|piccin[aeio]|marmocchi[ao]?|gemellin[aeio]",
            ("bambini sulla spiaggia", "un neonato", "un pargolo", "piccina, gesso"),
            ("bamboo", "an infantryman"),
        ),
        Rule(
            "teenager",
            r"adolescent[ei]|adolescenza|minorenn[ei]|minor[ei] (?:di|d) (?:<most>|età)|<a> minori<alone>"
            # Elsewhere it means smaller: "il male minore", "una minore quantità".
            r"|(?:<tag>|(?:una?|1) )minor[ei](?:<alone>| (?:al|alla|biond[aeio]|che|con|in|italian[aeio]|mor[aeio]"
            r"|nel|nella|non accompagnat[aeio]|scompars[aeio]|sedut[aeio]|sol[aio]|sorridenti?|sorridente"
            r"|stranier[aeio]|sul|sulla|triste|tristi)\b)"
            r"|preadolescent[ei]|(?:quattr|cinqu|sei|sett|ott|nov|dieci|undic|dodic|tredic|quattordic|quindic|sedic"
            r"|diciassett)enn[ei]",
            (
                "un'adolescente",
                "una minorenne",
                "minori di 18 anni",
                "una quindicenne",
                "un tredicenne",
                "minore",
                "minore con cartella",
                "un minore, gesso",
            ),
            ("il male minore", "una trentenne", "una diciottenne", "una sonata in la minore", "orsa minore"),
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
