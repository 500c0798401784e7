from __future__ import annotations

from typing import Any

import pytest

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError


def make(**changes: Any) -> Concept:
    values: dict[str, Any] = {
        "name": "van-gogh",
        "prompts": ("a field by Van Gogh",),
        "anchors": ("a field",),
        "terms": ("van gogh",),
    }
    return Concept(**{**values, **changes})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a field by VAN GOGH", True),
        ("a field by van  gogh, oil", True),
        ("(van gogh)", True),
        ("a caravan goghs", False),
        ("vangogh", False),
        ("a van by the sea", False),
    ],
)
def test_terms_are_whole_words_in_any_case(text: str, named: bool) -> None:
    assert make().named_in(text) is named


def test_terms_are_literal_text() -> None:
    assert make(terms=("c++",)).named_in("a C++ logo")
    assert not make(terms=("c++",)).named_in("a ccc logo")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Van Gogh"}, "`name` must be lower-case"),
        ({"prompts": (), "anchors": ()}, "`prompts` is empty"),
        ({"anchors": ("a", "b")}, "1 prompts but 2 anchors"),
        ({"terms": ()}, "`terms` is empty"),
        ({"parameters": "y"}, "choose from x, x-strict, u, all"),
        ({"prompts": (" ",)}, "is not a prompt"),
        ({"prompts": ("a photo of a child",)}, "mentions minors"),
        ({"anchors": ("a photo of a teenager",)}, "mentions minors"),
        ({"neighbours": ("a schoolgirl",)}, "mentions minors"),
        ({"audit_prompts": ("a schoolgirl",)}, "mentions minors"),
        ({"audit_prompts": ("a field by Van Gogh",)}, "is in `prompts` and `audit_prompts`"),
    ],
)
def test_wrong_concepts_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(**changes)


def test_one_anchor_stands_for_all_prompts() -> None:
    concept = Concept.from_dict({"name": "x", "prompts": ["a", "b"], "anchors": "c", "terms": ["x"]}, "here")
    assert concept.anchors == ("c", "c")


VALID = {"name": "x", "prompts": ["a"], "anchors": ["b"], "terms": ["x"]}


def test_a_table_may_choose_a_detector_and_say_what_it_looks_for() -> None:
    concept = Concept.from_dict({**VALID, "detector": "clip:folder", "detect": {"value": "x"}}, "here")
    assert (concept.detector, concept.detect) == ("clip:folder", {"value": "x"})
    assert Concept.from_dict(VALID, "here").detector == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promts": []}, "here: unknown setting 'promts': did you mean 'prompts'"),
        ({"prompts": "a"}, "here: `prompts`: Expected `array`, got `str`"),
        ({"prompts": [1]}, r"here: `prompts\[0\]`: Expected `str`, got `int`"),
        ({"prompts": [" "]}, "here: concept 'x', `prompts`: ' ' is not a prompt"),
        ({"name": 3}, "here: `name`: Expected `str`, got `int`"),
        ({"detect": {"a": 1}}, r"here: `detect\[...\]`: Expected `str`, got `int`"),
        ({"detector": 1}, "here: `detector`: Expected `str`, got `int`"),
        ({"parameters": "y"}, "here: `parameters`: Invalid enum value 'y'"),
    ],
)
def test_wrong_tables_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Concept.from_dict({**VALID, **changes}, "here")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="here: it lacks the required field `anchors`"):
        Concept.from_dict({key: value for key, value in VALID.items() if key != "anchors"}, "here")
