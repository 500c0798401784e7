"""How many statements are found that no rule was written for; see held_out.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pruneguard.text.languages import LANGUAGES
from pruneguard.text.minors import mentions_minors

HELD_OUT = tomllib.loads((Path(__file__).parent / "held_out.toml").read_text())


def test_every_language_has_held_out_statements() -> None:
    assert set(HELD_OUT) == {language.name.lower() for language in LANGUAGES}
    assert len(HELD_OUT["english"]["mentions"]) >= 100
    assert all(len(lists["mentions"]) >= 25 for lists in HELD_OUT.values())


@pytest.mark.parametrize("language", HELD_OUT)
def test_held_out_mentions_are_found(language: str) -> None:
    mentions = HELD_OUT[language]["mentions"]
    missed = [text for text in mentions if not mentions_minors(text)]
    assert len(missed) / len(mentions) <= (0.05 if language == "english" else 0.2), missed


@pytest.mark.parametrize("language", HELD_OUT)
def test_other_held_out_statements_are_left(language: str) -> None:
    others = HELD_OUT[language]["others"]
    refused = [text for text in others if mentions_minors(text)]
    assert len(refused) / len(others) <= 0.05, refused
