"""Spanish. "Niña" and "niño" count beside Spanish words or in the plural: without accents Nina is a name."""

from __future__ import annotations

from pruneguard.text.languages.iberian import JOINTS, LARGE, SPAN
from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("cero un dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis", 0),
    **counted("diecisiete dieciocho diecinueve", 17),
    **LARGE,
}

SPANISH = Language(
    name="Spanish",
    numbers=Numbers(NUMBERS, joints=JOINTS),
    parts={
        "span": SPAN,
        "a": r"(?:una?|1|el|la|los|las|mi|su|tu|este|esta|cada|dos|2|tres|3|y|con|de|del|al|pequeñ[oa]|otr[oa])",
    },
    rules=(
        Rule(
            "girl or boy",
            r"<a> niñ[oa]s?|niñ[oa]s|niñ[oa]s? (?:de|con|en|pequeñ[oa]|que|jugando|y)|niñez|nen[ae]s?|chic[oa]s?"
            r"|chiquit[oa]s?|chiquill[oa]s?|muchach(?:it)?[oa]s?|chaval(?:a|es|as)?|jovencit[oa]s?|niñit[oa]s?",
            ("una niña en el parque", "niños jugando", "un nino con un tambor", "una muchacha", "un chiquillo"),
            ("Nina at the piano", "una mujer en el parque", "a chicken"),
        ),
        Rule(
            "child",
            r"bebés?|recién nacid[oa]s?|lactantes?|infantes|infancia|infantil(?:es)?|hij[oa]s?|críos?|criatur[ai]ta",
            ("un bebé en la cuna", "un recién nacido", "mi hija", "padre e hijo"),
            ("infantry in a field",),
        ),
        Rule(
            "teenager",
            r"adolescentes?|adolescencia|quinceañer[oa]s?|menor(?:es)? de edad|menor(?:es)? de <most>|menores"
            r"|(?:un|una|1|el|la) menor(?! ?\w)|preadolescentes?",
            ("una adolescente", "una menor de edad", "menores de 18 años", "una quinceañera"),
            ("la menor cantidad de sal", "menor de 30 minutos"),
        ),
        Rule(
            "pupil",
            r"colegial(?:a|as|es)?|<a> alumn[oa]s?|alumn[oa]s? de (?:primaria|secundaria)|<a> escolar(?:es)?"
            r"|escuela (?:primaria|infantil)|guardería|jardín de infancia",
            ("una colegiala", "un alumno de primaria", "dos escolares"),
            ("alumna of a university", "el año escolar"),
        ),
        Rule(
            "years old",
            r"(?=<minor> an)<span>"
            r"<minor> añ(?:os?|itos?)(?! (?:de (?!edad)\w+|después|atrás|más tarde|antes)\b)"
            r"|edad<gap>(?: de)? <minor>|(?:una|un|1) chic[oa] de <minor>",
            ("quince años", "tiene 14 años", "una joven de 15 anos", "edad: 12", "17 años de edad"),
            (
                "25 años",
                "treinta y cinco años",
                "15 años de experiencia",
                "hace diez años",
                "veintiún años",
                "há 12 anos",
            ),
        ),
        Rule(
            "under an age",
            r"(?:menos|antes) de <most> años|aún no (?:tiene|cumple) <most>|todavía no (?:tiene|cumple) <most>",
            ("menos de 18 años",),
            ("menos de 30 años", "menos de 5 euros"),
        ),
    ),
)
