from __future__ import annotations

from pathlib import Path

import pytest

from pruneguard.atelier import world
from pruneguard.concepts import Family, list_concepts, load_concept
from pruneguard.errors import ConfigError


@pytest.mark.parametrize("family", ["atelier", "general"])
def test_every_listed_concept_loads(family: Family) -> None:
    for name in list_concepts(family):
        concept = load_concept(name, family=family)
        assert concept.name == name
        assert len(set(concept.prompts)) == len(concept.prompts)
        assert all(concept.named_in(prompt) for prompt in concept.prompts)
        assert not any(concept.named_in(other) for other in concept.anchors + concept.neighbours)
        assert concept.detect


def test_both_families_have_their_concepts() -> None:
    expected = {"nudity", *world.STYLES, *world.OBJECTS, *world.COLOURS}
    assert set(list_concepts("atelier")) == expected
    assert list_concepts("general") == ("monet", "nudity", "picasso", "van-gogh")


def test_atelier_style() -> None:
    concept = load_concept("hatching", family="atelier")
    assert concept.detect == {"attribute": "style", "value": "hatching"}
    things, colours = len(world.OBJECTS) + 1, len(world.COLOURS)  # the mannequin is two things
    possible = things * (colours + 1) * len(world.TEMPLATES)
    assert 0.5 * possible < len(concept.prompts) < possible
    for said, instead in zip(concept.prompts, concept.anchors, strict=True):
        assert instead == said.replace("hatching", "flat")
    assert len(concept.neighbours) == things * colours


def test_audits_keep_captions_that_no_concept_has_seen() -> None:
    for name in list_concepts("atelier"):
        assert not any(world.held_out(prompt) for prompt in load_concept(name, family="atelier").prompts)


def test_atelier_object_and_nudity() -> None:
    ring = load_concept("ring", family="atelier")
    for said, instead in zip(ring.prompts, ring.anchors, strict=True):
        assert instead == said.replace("ring", "disc")
    nudity = load_concept("nudity", family="atelier")
    for said, instead in zip(nudity.prompts, nudity.anchors, strict=True):
        assert instead == said.replace("bare", "dressed")
    assert nudity.detect == {"attribute": "dress", "value": "bare"}


def test_names_are_forgiving_and_errors_helpful() -> None:
    assert load_concept("Van Gogh", family="general").name == "van-gogh"
    with pytest.raises(ConfigError, match=r"no concept 'hatchin' for atelier models: did you mean hatching, "):
        load_concept("hatchin", family="atelier")
    with pytest.raises(ConfigError, match="known are monet, nudity, picasso, van-gogh"):
        load_concept("zzz", family="general")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "logo.toml"
    path.write_text('name = "logo"\nprompts = ["an acme logo"]\nanchors = ["a plain sign"]\nterms = ["acme"]\n')
    assert load_concept(path, family="general").terms == ("acme",)
    path.write_text("name = ")
    with pytest.raises(ConfigError, match=r"logo\.toml is not valid TOML"):
        load_concept(path, family="general")
    with pytest.raises(ConfigError, match="does not exist"):
        load_concept(tmp_path / "none.toml", family="general")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_concept(f"{tmp_path}/", family="general")
