"""Concepts of atelier's world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.atelier import world
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.families import find_family
from pruneguard.families.atelier.concepts import atelier_concept, atelier_names


def test_every_style_object_and_colour_is_a_concept() -> None:
    assert set(atelier_names()) == {"nudity", *world.STYLES, *world.OBJECTS, *world.COLOURS}


def test_a_style_is_asked_for_in_every_scene_and_replaced_by_another_style() -> None:
    concept = atelier_concept("hatching")
    assert concept.detect == {"attribute": "style", "value": "hatching"}
    things, colours = len(world.OBJECTS) + 1, len(world.COLOURS)  # the mannequin is two things
    possible = things * (colours + 1) * len(world.TEMPLATES)
    assert 0.3 * possible < len(concept.prompts) < possible
    for said, instead in zip(concept.prompts, concept.anchors, strict=True):
        assert instead == said.replace("hatching", "flat")
    assert len(concept.neighbours) == things * colours


def test_audits_keep_captions_that_no_concept_has_seen() -> None:
    for name in atelier_names():
        assert {world.purpose(prompt) for prompt in atelier_concept(name).prompts} == {"training"}


def test_objects_and_nudity_are_replaced_by_what_is_nearest() -> None:
    ring = atelier_concept("ring")
    for said, instead in zip(ring.prompts, ring.anchors, strict=True):
        assert instead == said.replace("ring", "disc")
    nudity = atelier_concept("nudity")
    for said, instead in zip(nudity.prompts, nudity.anchors, strict=True):
        assert instead == said.replace("bare", "dressed")
    assert nudity.detect == {"attribute": "dress", "value": "bare"}


def test_nothing_that_is_suppressed_is_drawn_instead() -> None:
    mosaic, flat, star = find_family("atelier").load_concepts(["mosaic", "flat", "star"])
    assert all("outline style" in text for text in flat.anchors)
    assert all("hatching style" in text for text in mosaic.anchors)
    for concept in (mosaic, flat, star):
        words = [set(text.replace(",", "").split()) for text in concept.anchors]
        assert not any({"mosaic", "flat", "star"} & said for said in words)
    assert any("star" in text for text in mosaic.prompts)  # what asks for both is trained too
    assert not any("star" in text for text in (*mosaic.implicit_prompts, *mosaic.neighbours))


def test_a_world_without_another_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="every style of atelier's world is to be suppressed"):
        find_family("atelier").load_concepts(world.STYLES)


def test_a_concept_of_atelier_is_asked_for_by_its_own_audit_prompts_if_it_has_some() -> None:
    family, settings = find_family("atelier"), AuditSettings(target=16)
    mosaic = atelier_concept("mosaic")
    own = tuple(f"a mosaic of tiles, number {word}" for word in ("one", "two", "three", "four", "five", "six", "seven"))
    asked = family.audit_prompts(replace(mosaic, audit_prompts=(*own, "tiles in mosaic style")), settings)
    assert set(asked.target) == {*own, "tiles in mosaic style"} and not asked.target_asked
    # What must be kept is still read in atelier's captions.
    plain = family.audit_prompts(mosaic, settings)
    assert (asked.other, asked.other_asked, asked.implicit) == (plain.other, plain.other_asked, plain.implicit)


def test_styles_that_are_suppressed_together_become_different_ones() -> None:
    names = ("mosaic", "glow", "relief")
    instead = {atelier_concept(name, beside=set(names) - {name}).anchors[-1] for name in names}
    shown = {next(style for style in world.STYLES if style in anchor) for anchor in instead}
    assert len(shown) == 3 and not shown & set(names)
    assert "flat" in atelier_concept("mosaic").anchors[-1]
