"""What Spanish and Portuguese share: without accents both write "anos", so each must know the other's large numbers."""

from pruneguard.text.numbers import counted

LARGE = {
    **counted("veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa", 20, 10),
    **counted("vinte trinta quarenta cinquenta sessenta setenta oitenta noventa", 20, 10),
    **{"cien": 100, "ciento": 100, "cem": 100, "cento": 100, "mil": 1000},
}
JOINTS = ("y", "e")
