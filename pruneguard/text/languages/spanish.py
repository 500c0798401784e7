"""Spanish. "Niña" and "niño" count always; without the tilde beside Spanish words or in the plural: Nina is a name."""

from __future__ import annotations

from pruneguard.text.languages.iberian import JOINTS, LARGE, MINOR, SPAN
from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("cero un dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis", 0),
    **counted("diecisiete dieciocho diecinueve", 17),
    **LARGE,
}

# fmt: off
_SIGNS = (
    "desde", "ella", "hacia", "muy", "sobre", "su", "una", "unas", "unos",
    "bailando", "caminando", "cantando", "comiendo", "corriendo", "dibujando", "durmiendo", "feliz", "jugando",
    "leyendo", "llorando", "mirando", "pintando", "riendo", "saltando", "sonriendo", "triste",
    "dormida", "dormido", "pequeña", "pequeño", "sentada", "sentado", "sonriente",
    "acuarela", "carboncillo", "cuadro", "dibujo", "fotografía", "lápiz", "lienzo", "luz", "óleo", "pintura", "retrato",
    "amarilla", "amarillo", "azul", "morena", "pelirroja", "pelirrojo", "roja", "rojo", "rubia", "rubio", "suave",
    "abuela", "abuelo", "bicicleta", "bosque", "cabello", "calle", "camisa", "cielo", "cometa", "cuna", "escuela",
    "flores", "gato", "globo", "hermana", "hermano", "invierno", "jardín", "lluvia", "madre", "montaña",
    "nieve", "noche", "ojos", "otoño", "parque", "pelo", "perro", "playa", "sombrero", "trenzas", "verano",
    "vestido",
)
# fmt: on

SPANISH = Language(
    name="Spanish",
    numbers=Numbers(NUMBERS, joints=JOINTS),
    parts={
        "span": SPAN,
        "a": r"(?:una?|1|el|la|los|las|mi|su|tu|este|esta|cada|dos|2|tres|3|y|con|de|del|al|pequeñ[oa]|otr[oa])",
    },
    signs=_SIGNS,
    letters="íñóú",
    rules=(
        Rule(
            "girl or boy, with a tilde",
            r"niñ(?:[oa]s?|ez|(?:it|at)[oa]s?)",
            ("niña", "retrato: niña rubia", "niña, tiza", "NIÑO en bici", "nin\u0303os"),
            ("Nina, chalk", "ninja", "a piñata"),
            accented=True,
        ),
        Rule(
            "girl or boy, in doubt",
            r"nin[oa]<alone>",
            ("nina, acuarela", "fotografía antigua, nino, tren"),
            ("Nina, a jazz singer", "Nina Simone, retrato"),
            doubtful=True,
        ),
        Rule(
            "girl or boy",
            r"<a> niñ[oa]s?|niñ[oa]s|niñ[oa] (?:de|con|en|que|y|<sign>)|niñez|nen[ae]s?|chic[oa]s?"
            r"|chiquit[oa]s?|chiquill[oa]s?|muchach(?:it)?[oa]s?|chaval(?:a|es|as)?|chavalín|chavalines|chavalin[oa]s?"
            r"|jovencit[oa]s?|niñit[oa]s?"
            r"|chamac[oa]s?|chamaquit[oa]s?|escuincles?|mozuel[oa]s?|pib[ea]s?|zagal(?:a|es|as)?",
            (
                "una niña en el parque",
                "niños jugando",
                "un nino con un tambor",
                "una muchacha",
                "un chiquillo",
                "nina sentada, tiza",
                "pibe, potrero",
            ),
            ("Nina at the piano", "una mujer en el parque", "a chicken", "nina ricci perfume"),
        ),
        Rule(
            "child",
            r"bebés?|recién nacid[oa]s?|lactantes?|infantes|infancia|infantil(?:es)?|hij[oa]s?|hijit[oa]s?|críos?"
            r"|criatur[ai]ta|párvul[oa]s?|peques|nietecit[oa]s?|nietit[oa]s?|nietas?|nietos"
            r"|(?:<a> |<tag>)nieto(?:<alone>| (?:con|de|y)\b)|hermanit[oa]s?"
            r"|herman[oa]s? (?:menor(?:es)?|pequeñ[oa]s?)",
            ("un bebé en la cuna", "un recién nacido", "mi hija", "padre e hijo", "hermanita, tiza", "nieto con boina"),
            ("infantry in a field",),
        ),
        Rule(
            "teenager",
            r"adolescentes?|adolescencia|quinceañer[oa]s?|menor(?:es)? de edad|menor(?:es)? de <most>|menores"
            r"|(?:una?|1|el|la) menor<alone>|preadolescentes?|" + MINOR,
            (
                "una adolescente",
                "una menor de edad",
                "menores de 18 años",
                "una quinceañera",
                "menor",
                "menor rubia",
                "menor con mochila",
            ),
            ("la menor cantidad de sal", "menor de 30 minutos", "menor precio", "el precio menor con descuento"),
        ),
        Rule(
            "pupil",
            r"colegial(?:a|as|es)?|<a> alumna|alumnos?|alumnas|alumna (?:con|de (?:primaria|secundaria)|en|que|<sign>)"
            r"|(?:<a> |<tag>)escolar(?:es)?"
            r"|escuela (?:primaria|infantil)|guardería|jardín de infancia",
            (
                "una colegiala",
                "un alumno de primaria",
                "dos escolares",
                "alumno, tiza",
                "alumna sentada",
                "alumna con flauta",
            ),
            ("alumna of a university", "el año escolar", "alumna, class of 1985"),
        ),
        Rule(
            "pupil, in doubt",
            r"alumna<alone>",
            ("alumna, pizarra, lápiz",),
            ("alumna, class of 1985",),
            doubtful=True,
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
