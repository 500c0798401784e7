"""French. "Ado", "mineur" and "élève" count after an article only: English has "ado", and "élevé" means high."""

from __future__ import annotations

from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize", 0),
    **counted("vingt trente quarante cinquante soixante septante huitante nonante", 20, 10),
    **{"vingts": 20, "cent": 100, "cents": 100, "mille": 1000},
}

FRENCH = Language(
    name="French",
    numbers=Numbers(NUMBERS, joints=("et",)),
    parts={"a": r"(?:une?|1|des|les|l|d|ce|cet|cette|ces|deux|2|trois|3|jeunes?|mon|ma|mes|nos|leurs?)"},
    rules=(
        Rule(
            "girl",
            r"filles|<a> fille|(?:jeunes?|petites?|sa|ta|la) fille|fille (?:de|au|aux|avec|dans|en|sur|qui)"
            r"|fillettes?|gamines?|gosselines?|pucelles?",
            ("une fille au parc", "une fillette", "une jeune fille"),
            ("une femme au parc", "a filly", "a half fille glass"),
        ),
        Rule(
            "boy",
            r"garçons?|garçonnets?|gamins?|(?:mon|ton|son|le|les|leurs?|notre|votre|un|1|et|deux|2) fils",
            ("un garçon à vélo", "des gamins", "mère et fils"),
            ("un fil rouge", "un gamma"),
        ),
        Rule(
            "child",
            r"enfants?|enfance|enfantine?s?|bébés?|nourrissons?|nouveaux? nés?|bambine?s?|gosses?|mioches?|mômes?"
            r"|marmots?|<a> tout petits?(?! ?\w)|<a> tout petits? (?:avec|dans|sur|qui|et)",
            ("un enfant joue", "des bébés", "un nouveau-né", "un tout-petit avec un seau", "un gosse"),
            ("un tout petit village", "an elephant"),
        ),
        Rule(
            "teenager",
            r"adolescente?s?|<a> ados?|pré ?ados?|préadolescente?s?|<a> mineure?s?(?! de (?:charbon|fond|or)\b)"
            r"|puberté",
            ("un adolescent", "des ados", "une mineure", "une adolescente"),
            ("much ado about nothing", "un mineur de charbon", "une sonate en la mineur"),
        ),
        Rule(
            "pupil",
            r"écoli(?:er|ère)s?|collégien(?:ne)?s?|lycéen(?:ne)?s?|<a> élèves?|écoles? (?:maternelle|primaire"
            r"|élémentaire)s?|<a> maternelle",
            ("une écolière", "des collégiens", "une lycéenne", "un élève au tableau", "une école primaire"),
            ("un prix élevé", "un étudiant à l'université"),
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
