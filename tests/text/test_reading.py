"""How a text is shown to the rules."""

from __future__ import annotations

import pytest

from pruneguard.text.languages.english import ENGLISH
from pruneguard.text.languages.french import FRENCH
from pruneguard.text.languages.german import GERMAN
from pruneguard.text.languages.spanish import SPANISH
from pruneguard.text.patterns import any_of, any_pattern, not_after
from pruneguard.text.reading import Reading
from pruneguard.text.rules import Language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A woman, 15, smiling!", "a woman , 15 , smiling"),
        ("a 2,000 year-old tree", "a 2000 year old tree"),
        ("10 000 years", "10000 years"),
        ("9½ or 9.5 years", "9 or 9 years"),
        ("8–20 years", "8 to 20 years"),
        ("she's under_18 (007)", "she s under 18 ( 7 )"),
        ("16yr, 7th", "16 yr , 7th"),
        ("٤ years", "4 years"),
        ("high.school", "high school"),
    ],
)
def test_words_and_marks_stand_apart(text: str, expected: str) -> None:
    assert Reading(text).latin == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (ENGLISH, "twenty-five and fifteen", "25 and 15"),
        (ENGLISH, "one hundred and five", "one 105"),
        (ENGLISH, "six hundred, 10 thousand, twenty five-year-olds", "600 , 10 1000 , 25 year olds"),
        (ENGLISH, "20 five-year-olds, two twenty-year-olds", "20 5 year olds , 2 20 year olds"),
        (ENGLISH, "the sixteenth, the twenty-first", "the 16th , the 20 1th"),
        (FRENCH, "dix-sept, vingt et un, quatre-vingt-dix-neuf", "17 , 21 , 99"),
        (SPANISH, "treinta y cinco, quarenta e dois", "35 , 40 e dois"),
    ],
)
def test_number_words_become_digits(language: Language, text: str, expected: str) -> None:
    assert language.shown(Reading(text)) == expected


def test_letters_stay_in_their_alphabets() -> None:
    assert Reading("Дeвочка, 15 лет").cyrillic == "девочка , 15 лет"  # its second letter is Latin
    assert Reading("１５ 歳、十五歳、百歳、〇五").kanji == "15歳、15歳、1000000歳、5"
    assert (Reading("a star").cyrillic, Reading("a star").kanji) == ("", "")


def test_accented_words_are_words_as_they_are_written() -> None:
    assert Reading("Niña (15), élève!").accented == "niña ( 15 ) , élève"
    assert Reading("Nina, 15").accented == Reading("Nina, 15").latin


@pytest.mark.parametrize(
    ("text", "told"),
    [("Bild und Rahmen", True), ("a green Tür", True), ("OELGEMAELDE", True), ("a kind man", False), ("für", True)],
)
def test_signs_and_letters_tell_a_language(text: str, *, told: bool) -> None:
    assert GERMAN.is_told(Reading(text)) is told


def test_a_place_after_some_words_is_left_out() -> None:
    assert not_after(["is", "a", "be"]) == r"(?<!\ba )(?<!\bbe |\bis )"


def test_a_pattern_for_words_finds_these_words_only() -> None:
    assert any_of(["star", "stars", "stone"]) == "st(?:ar(?:s)?|one)"


def test_patterns_are_tried_where_they_can_begin() -> None:
    assert any_pattern([r"\d a|bs?", r"(?<!c )(?:de|2)(?:e|f)", r", \d|[a-z]h"]) == (
        r"(?=\d)(?:\d a|(?<!c )(?:de|2)(?:e|f)|[a-z]h)|(?=[^\w\s])(?:, \d|[a-z]h)|(?=[^\W\d])(?:[a-z]h)"
        r"|(?=(?:b|de))(?:bs?|(?<!c )(?:de|2)(?:e|f))"
    )
