"""French. "Ado", "fils" and "mineur" count beside some words only: English has "ado", and they mean threads and miner.

"Élève" is known by its accents: "élevé" means high.
"""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize", 0),
    **counted("vingt trente quarante cinquante soixante septante huitante nonante", 20, 10),
    **{"vingts": 20, "cent": 100, "cents": 100, "mille": 1000},
}

# fmt: off
_SIGNS = (
    "avec", "aux", "chez", "dans", "dont", "et", "leur", "leurs", "qui", "sa", "ses", "sous", "sur", "une",
    "assis", "assise", "courant", "debout", "dormant", "heureux", "heureuse", "jouant", "lisant", "regardant", "riant",
    "seul", "seule", "souriant", "souriante",
    "aquarelle", "croquis", "dessin", "fusain", "huile", "lumière", "peinture", "photographie", "toile",
    "blanc", "blanche", "bleu", "bleue", "brune", "jaune", "jeune", "joli", "jolie", "petits", "rousse", "vert",
    "verte", "vieux",
    "automne", "ballon", "cheveux", "chien", "ciel", "cuisine", "école", "écharpe", "été", "forêt", "frère", "hiver",
    "mère", "montagne", "neige", "nuit", "père", "plage", "pluie", "printemps", "rue", "soeur", "soleil", "vélo",
    "ville", "yeux",
)
# fmt: on

FRENCH = Language(
    name="French",
    numbers=Numbers(NUMBERS, joints=("et",)),
    parts={
        "a": r"(?:une?|1|des|les|l|d|ce|cet|cette|ces|deux|2|trois|3|jeunes?|mon|ma|mes|nos|leurs?)",
        # Fils of these are threads and wires.
        "thread": (
            r"(?: (?:à|barbelés?|colorés?|dorés?|électriques?|téléphoniques?|tendus|d (?:or|argent|acier)"
            r"|de (?:coton|cuivre|fer|laine|lin|nylon|soie))\b)"
        ),
    },
    signs=_SIGNS,
    letters="àçèêîôùûœ",
    rules=(
        Rule(
            "girl",
            r"(?<!\bhalf )(?<!ly )filles?(?! (?:in|up|with)\b)|fillettes?|fifilles?|gamines?|gosselines?|pucelles?"
            r"|jouvencelles?",
            ("une fille au parc", "une fillette", "une jeune fille", "belle fille", "fille blonde", "fille"),
            ("une femme au parc", "a filly", "a half fille glass"),
        ),
        Rule(
            "boy",
            r"garçons?|garçonnets?|gamins?|galopins?|jouvenceaux?"
            r"|(?:mon|ton|son|le|les|leurs?|notre|votre|un|1|et|deux|2) fils|petits? fils"
            r"|fils (?:du|unique|<sign>|de (?:la|l|mon|son)|d 1|d une)|<start>fils<alone>",
            ("un garçon à vélo", "des gamins", "mère et fils", "fils du meunier", "petit-fils, gouache", "fils"),
            ("un fil rouge", "un gamma", "fils dorés et perles", "Alexandre Dumas fils, gravure"),
        ),
        Rule(
            "son or teenager, in doubt",
            r"(?<!\bde )(?<!\bdes )(?<!\bdumas )fils(?!<thread>)"
            r"|(?<!\bmuch )(?<!\bfurther )(?<!\bmore )ado(?! about\b)",
            ("atelier, fils, gouache sur toile", "portrait, ado, lumière du soir"),
            ("pelote de fils, lumière", "ado and fils", "much ado, une affiche"),
            doubtful=True,
        ),
        Rule(
            "child",
            r"enfants?|enfance|enfantine?s?|bébés?|nourrissons?|nouveaux? nés?|bambine?s?|gosses?|mioches?|mômes?"
            r"|marmots?|(?:<a> |<tag>)tout petits?(?:<alone>| (?:avec|dans|sur|qui|et|en)\b)|bouts? de chou|petiote?s?"
            r"|marmailles?|petits? frères?|petites? s(?:œ|oe)urs?|petits? neveux?|petites? nièces?|garnements?",
            (
                "un enfant joue",
                "des bébés",
                "un nouveau-né",
                "un tout-petit avec un seau",
                "un gosse",
                "tout-petits, tapis",
                "petite sœur, gouache",
            ),
            ("un tout petit village", "an elephant"),
        ),
        Rule(
            "teenager",
            r"adolescente?s?|(?:<a> )?ados|<a> ado|ado (?:au|en|<sign>)|<start>ado<alone>|pré ?ados?|préadolescente?s?"
            r"|(?:<a> |<tag>)mineurs?(?! (?:au (?:casque|fond)|de (?:charbon|fond|or)|d or)\b)"
            r"|mineurs? (?:étrangers?|isolés?|non accompagnés?)"
            # After these it is the adjective: "gamme mineure".
            r"|(?<!\basie )(?<!\bclé )(?<!\bgamme )(?<!\boeuvre )(?<!\bœuvre )(?<!\btierce )(?<!\btonalité )mineures?"
            r"|puberté",
            (
                "un adolescent",
                "des ados",
                "une mineure",
                "une adolescente",
                "mineure",
                "mineur, portrait",
                "ados, gouache",
                "ado avec guitare",
                "ado",
            ),
            (
                "much ado about nothing",
                "un mineur de charbon",
                "une sonate en la mineur",
                "une gamme mineure",
                "without further ado",
                "mineur de fond, lampe",
            ),
        ),
        Rule(
            "pupil",
            r"écoli(?:er|ère)s?|collégien(?:ne)?s?|lycéen(?:ne)?s?|écoles? (?:maternelle|primaire"
            r"|élémentaire)s?|<a> maternelle",
            ("une écolière", "des collégiens", "une lycéenne", "une école primaire"),
            ("un étudiant à l'université",),
        ),
        Rule(
            "pupil, with accents",
            r"(?<!\bs )(?:é|e)l[èe]ves?",  # not "la tour s'élève"
            ("un élève au tableau", "élève", "ÉLÈVES, craie", "l'élève", "e\u0301le\u0300ve", "un eleve"),
            ("un prix élevé", "une tour élevée", "la tour s'élève", "elevated", "elevator"),
            accented=True,
        ),
        Rule(
            "years old",
            r"(?=<minor> an)(?<!il y a )(?<!depuis )(?<!pendant )(?<!dans )(?<!après )(?<!whisky de )(?<!vin de )"
            r"<minor> ans?(?! (?:d (?:expérience|existence|ancienneté|âge|histoire|amour|affilée)|de \w+"
            r"|plus (?:tard|tôt)|après|avant|auparavant|durant)\b)|âgée?s? (?:de|d|entre) <minor>|âge : <minor>",
            ("quinze ans", "une danseuse âgée de 13 ans", "elle a 14 ans", "dix-sept ans", "âge : 12"),
            (
                "25 ans",
                "trente-cinq ans",
                "15 ans d'expérience",
                "vingt et un ans",
                "il y a dix ans",
                "dix ans de guerre",
            ),
        ),
        Rule(
            "under an age",
            r"moins de <most> ans|avant ses <most> ans|pas encore (?:<most> ans|majeure?s?|adultes?)",
            ("moins de 18 ans", "pas encore majeure"),
            ("moins de 30 ans", "moins de 5 euros"),
        ),
    ),
)
