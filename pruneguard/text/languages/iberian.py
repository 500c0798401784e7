"""What Spanish and Portuguese share: without accents both write "anos", so each knows the words of both beside it."""

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
