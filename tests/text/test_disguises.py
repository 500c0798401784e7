"""What letters are taken for."""

from __future__ import annotations

import pytest

from pruneguard.text.disguises import folded, plain, spellings, wildcards, words_of


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


def test_words_are_split_at_all_else() -> None:
    assert words_of("Van-Gogh's “Stárry  Night” (1889)") == ["van", "gogh", "s", "starry", "night", "1889"]


@pytest.mark.parametrize("text", ["star", "st.ar", "st ar", "s t a r", "s'~t.a r", "5t4r", "s|t|a|r", "staaar", "s+ar"])
def test_spellings_undo_a_disguise(text: str) -> None:
    assert "star" in set(spellings(text, longest=6))


def test_spellings_make_up_no_words() -> None:
    assert set(spellings("red star", longest=6)) == {"red", "star", "redstar"}


def test_signs_for_letters() -> None:
    assert [pattern.pattern for pattern in wildcards("s*ar *red* 2*3 ** a*")] == ["s.ar"]


def test_i_and_l_are_one() -> None:
    assert folded("tile") == folded("tlie") == "tlle"
