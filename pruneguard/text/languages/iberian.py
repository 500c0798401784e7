"""What Spanish and Portuguese share: numbers, for without accents both write "anos", and the word "menor"."""

from pruneguard.text.numbers import counted

LARGE = {
    **counted("veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa", 20, 10),
    **counted("vinte trinta quarenta cinquenta sessenta setenta oitenta noventa", 20, 10),
    **{"cien": 100, "ciento": 100, "cem": 100, "cento": 100, "mil": 1000},
}
JOINTS = ("y", "e")
# Before a number of years, these words show that it is no age.
SPAN = "".join(
    f"(?<!{words} )"
    for words in (
        "hace",
        "há",
        "durante",
        "tras",
        "após",
        "whisky de",
        "uísque de",
        "vino de",
        "vinho de",
        "garantía de",
    )
)

# "Menor" is a person where a tag begins, and beside what is said of persons; elsewhere it means smaller.
MINOR = (
    r"<tag>menor(?:<alone>| (?:com|con|em|en|junto|na|nas|no|nos|sem|sin|sobre)\b)"
    r"|menor (?:acompanhad[oa]|acompañad[oa]|adormecid[oa]|alegre|brincando|caminando|caminhando|corriendo|correndo"
    r"|desacompanhad[oa]|desaparecid[oa]|desconocid[oa]|desconhecid[oa]|dormid[oa]|dormindo|durmiendo|escolarizad[oa]"
    r"|estrangeir[oa]|estudiando|estudando|extranjer[oa]|feliz|infractora?|infratora?|jugando|lendo|leyendo|loir[oa]"
    r"|migrante|moren[oa]|no acompañad[oa]|não acompanhad[oa]|pelirroj[oa]|perdid[oa]|posando|rubi[oa]|ruiv[oa]"
    r"|sentad[oa]|sonriendo|sonriente|sorridente|sorrindo|sozinh[oa]|triste|vestid[oa])"
)
