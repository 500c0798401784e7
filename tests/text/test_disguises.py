"""What letters are taken for."""

from __future__ import annotations

import pytest

from pruneguard.text.disguises import (
    accented,
    folded,
    plain,
    spelled_out,
    spellings,
    stretched,
    unmarked,
    wildcards,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Déjà VU", "deja vu"),
        ("ｓｔａｒ", "star"),
        ("st\u200bar\u00ad", "star"),
        ("s̷t̷a̷r̷", "star"),
        ("ѕtаг", "star"),  # Cyrillic s, a and r
        ("σταρ", "σtap"),  # Greek has no letter that looks like s
        ("ꜱᴛᴀʀ 🆂🆃🅰🆁 ⓢⓣⓐⓡ", "star star star"),
        ("łøđħ", "lodh"),
        ("a–b—c", "a-b-c"),
        ("a\u00a0b\u3000c", "a b c"),
        ("⑭ ⓮ Ⅻ ½", "14 14 xii 1⁄2"),
        ("1\ufe0f\u20e34\ufe0f\u20e3", "14"),
        ("⭐", " white medium star "),
        ("星", "星"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Niña", "niña"), ("NIN\u0303A", "niña"), ("ｎｉ\u200bñа", "niña"), ("ÉLÈVE, šal", "élève, sal"), ("Nina", None)],
)
def test_accents_can_be_kept(text: str, expected: str | None) -> None:
    assert accented(text) == expected


def test_words_are_split_at_all_else() -> None:
    assert words_of("Van-Gogh's “Stárry  Night” (1889)") == ["van", "gogh", "s", "starry", "night", "1889"]


def test_unmarked_keeps_the_alphabet() -> None:
    assert unmarked("Ёлка, чай, ガ, é\u200b") == "Елка, чаи, カ, e"


@pytest.mark.parametrize("text", ["star", "st.ar", "st ar", "5t4r", "s|t|a|r", "s+ar"])
def test_spellings_undo_a_disguise(text: str) -> None:
    assert "star" in spellings(text)


def test_spellings_make_up_no_words() -> None:
    assert spellings("red star") == {"red", "star", "redstar"}


@pytest.mark.parametrize("text", ["s t a r", "s'~t.a r", "5 t 4 r", "5|t|a|r"])
def test_letters_that_stand_apart_are_joined(text: str) -> None:
    assert "star" in spelled_out(text)


def test_stretched_letters_are_cut_to_one_or_two() -> None:
    assert list(stretched("staaar")) == ["staaar", "star", "staar"]
    assert list(stretched("moon")) == ["moon"]


def test_signs_for_letters() -> None:
    assert wildcards("s*ar *red* 2*3 ** a* s#*r") == {"s*ar", "s**r"}


def test_i_and_l_are_one() -> None:
    assert folded("tile") == folded("tlie") == "tlle"
