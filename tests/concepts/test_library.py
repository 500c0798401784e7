"""Concepts that come as TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruneguard.concepts import list_presets, load_preset, read_concept
from pruneguard.errors import ConfigError


def test_every_preset_names_its_concept_and_nothing_else_does() -> None:
    assert {"nudity", "van-gogh"} <= set(list_presets())
    for name in list_presets():
        concept = load_preset(name)
        assert concept.name == name
        assert len(set(concept.prompts)) == len(concept.prompts)
        assert all(concept.named_in(prompt) for prompt in (*concept.prompts, *concept.audit_prompts))
        assert not any(concept.named_in(other) for other in concept.anchors + concept.neighbours)
        assert concept.detect


def test_an_unknown_preset_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match=r"unknown concept 'van-gog': did you mean 'van-gogh'\?"):
        load_preset("van-gog")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "logo.toml"
    text = 'name = "logo"\nprompts = ["an acme logo"]\nanchors = ["a plain sign"]\nterms = ["acme"]\n'
    path.write_text(f'{text}detector = "clip:folder"\n')
    concept = read_concept(path)
    assert (concept.terms, concept.detector) == (("acme",), "clip:folder")
    path.write_text(text)
    assert read_concept(path).detector == ""


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "logo.toml"
    path.write_text("name = ")
    with pytest.raises(ConfigError, match=r"logo\.toml is not valid TOML"):
        read_concept(path)
    path.write_text('name = "logo"\nprompts = ["an acme logo"]\nanchors = ["a plain sign"]\nterms = []\n')
    with pytest.raises(ConfigError, match=r"logo\.toml: concept 'logo': `terms` is empty"):
        read_concept(path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_concept(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_concept(tmp_path)
