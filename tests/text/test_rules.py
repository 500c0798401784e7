"""Every rule of every language finds its own examples and leaves its near misses."""

from __future__ import annotations

import re

import pytest

from pruneguard.text.exemptions import EXEMPTIONS, without_exempt
from pruneguard.text.languages import LANGUAGES
from pruneguard.text.minors import mention, mentions_minors
from pruneguard.text.reading import Reading
from pruneguard.text.rules import Language, Rule

RULES = [
    pytest.param(language, rule, id=f"{language.name}-{rule.name}") for language in LANGUAGES for rule in language.rules
]


@pytest.mark.parametrize(("language", "rule"), RULES)
def test_a_rule_finds_its_examples_and_leaves_its_near_misses(language: Language, rule: Rule) -> None:
    assert rule.hits and rule.misses
    for text in rule.hits:
        shown = Reading(text).accented if rule.accented else language.shown(Reading(text))
        assert language.compiled(rule).search(shown), f"{text!r}, shown as {shown!r}"
        assert language.find(Reading(text)), text
        assert mentions_minors(text), text
    for text in rule.misses:
        found = language.find(Reading(text))
        assert found is None, f"{text!r} was found by {found}"


@pytest.mark.parametrize("exemption", EXEMPTIONS, ids=lambda exemption: exemption.name)
def test_an_exemption_spares_its_examples_and_nothing_near(exemption: Rule) -> None:
    assert exemption.hits and exemption.misses
    for text in exemption.hits:
        assert re.search(exemption.pattern, text), text
        assert mention(text) is None, text
    for text in exemption.misses:
        assert without_exempt(text) == text


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_names_are_unique(language: Language) -> None:
    names = [rule.name for rule in language.rules]
    assert len(set(names)) == len(names)


def test_a_mention_is_named() -> None:
    assert mention("a red star") is None
    assert mention("two k1ds") == "English: words"
    assert mention("a woman, 15, smiling") == "English: a person of an age"
    assert mention("uma menina") == "Portuguese: girl or boy"
    assert mention("x" * 3001) == mention("\ufdfa" * 2000) == "length"
