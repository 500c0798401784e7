"""What Spanish and Portuguese share: without accents both write "anos", so each must know the other's large numbers."""

TENS = {
    **{"treinta": 30, "cuarenta": 40, "cincuenta": 50, "sesenta": 60, "setenta": 70, "ochenta": 80, "noventa": 90},
    **{"trinta": 30, "quarenta": 40, "cinquenta": 50, "sessenta": 60, "oitenta": 80, "vinte": 20, "veinte": 20},
    **{"cien": 100, "ciento": 100, "cem": 100, "cento": 100, "mil": 1000},
}
JOINTS = ("y", "e")
