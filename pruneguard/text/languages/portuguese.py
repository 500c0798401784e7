"""Portuguese of Portugal and Brazil."""

from __future__ import annotations

from pruneguard.text.languages.iberian import JOINTS, LARGE, MINOR, SPAN
from pruneguard.text.numbers import Numbers, counted
from pruneguard.text.rules import Language, Rule

NUMBERS = {
    **counted("zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis", 0),
    **counted("dezessete dezoito dezenove", 17),
    **{"duas": 2, "catorze": 14, "dezasseis": 16, "dezassete": 17, "dezanove": 19},
    **LARGE,
}

PORTUGUESE = Language(
    name="Portuguese",
    numbers=Numbers(NUMBERS, joints=JOINTS),
    parts={"span": SPAN, "a": r"(?:uma?|1|o|a|os|as|uns|meu|minha|seu|sua|este|esta|esse|essa|2|3|pequen[oa])"},
    rules=(
        Rule(
            "child, with an accent",
            r"piás?",  # "pia" is a sink, and a name
            ("piá com cachorro", "um piá", "PIÁS, giz"),
            ("pia de cozinha", "Pia at the window"),
            accented=True,
        ),
        Rule(
            "girl or boy",
            r"menin(?:inh)?[oa]s?|garot(?:inh)?[oa]s?|rapariguinhas?|raparigas?|rapaz(?:es|inho|inhos)?|moleques?"
            r"|molec[oa]tes?|guris?|gurias?|mocinhas?|miúd[oa]s?|filh(?:inh)?[oa]s?"
            r"|cachop[oa]s?|catrai[oa]s?|gaiat[oa]s?|petiz(?:es)?|pirralh[oa]s?|netinh[oa]s?|netas?"
            r"|(?:<a> |<tag>)netos?(?:<alone>| (?:com|d[aeo]|e)\b)|irm(?:ão|ã)zinh[oa]s?|maninh[oa]s?",
            (
                "uma menina no parque",
                "um garoto",
                "uma rapariga",
                "um moleque",
                "minha filha",
                "um guri com uma bola",
                "guri, giz",
                "neto com boina",
                "petiz, giz",
            ),
            ("uma mulher no parque", "a gurney"),
        ),
        Rule(
            "child",
            r"crianças?|criancinhas?|bebês?|bebés?|bebezinh[oa]s?|nenéns?|nenês?"
            r"|pequenin[oa]s?|pequerruch[oa]s?|recém nascid[oa]s?|infância|infantil"
            r"|infantis",
            ("crianças na praia", "uma crianca com pipa", "um bebê", "um recém-nascido"),
            ("infantry in a field",),
        ),
        Rule(
            "teenager",
            r"adolescentes?|adolescência|menor(?:es)? de idade|menor(?:es)? de <most>|(?:<a> |<tag>)menores<alone>"
            r"|(?:uma?|1|o|a) menor<alone>|" + MINOR,
            ("um adolescente", "uma menor de idade", "menores de 18 anos", "menor", "menor loira", "menor no balanço"),
            ("a menor distância", "menor de 30 minutos", "menor preço"),
        ),
        Rule(
            "pupil",
            r"alun[oa]s?|estudantes? d[oe] (?:ensino|primári[oa]|secundári[oa])\w*|colegia(?:l|is)|ensino fundamental"
            r"|escola (?:primária|infantil)|creches?|jardim de infância",
            ("um aluno do ensino fundamental", "uma estudante do ensino médio"),
            ("uma estudante da universidade",),
        ),
        Rule(
            "years old",
            r"(?=<minor> an)<span>"
            r"<minor> an(?:os?|inhos?)(?! (?:de (?!idade)\w+|depois|atrás|mais tarde|antes)\b)"
            r"|idade<gap>(?: de)? <minor>",
            ("quinze anos", "ela tem 14 anos", "dezessete anos", "idade: 12", "17 anos de idade"),
            ("25 anos", "trinta e cinco anos", "15 anos de experiência", "há dez anos", "vinte e um anos"),
        ),
        Rule(
            "under an age",
            r"(?:menos|abaixo|antes) d[eo]s? <most> anos",
            ("menos de 18 anos",),
            ("menos de 30 anos", "menos de 5 euros"),
        ),
    ),
)
