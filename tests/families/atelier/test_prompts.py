"""Audit prompts of atelier's world."""

from __future__ import annotations

import pytest

from pruneguard.atelier.world import purpose
from pruneguard.concepts import Concept
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.families import find_family
from pruneguard.families.atelier.concepts import atelier_concept, atelier_names
from pruneguard.families.atelier.prompts import atelier_prompts


@pytest.mark.parametrize(("name", "word"), [("hatching", "hatching"), ("nudity", "bare"), ("red", "red")])
def test_target_prompts_call_for_the_concept_and_no_other_does(name: str, word: str) -> None:
    prompts = atelier_prompts(atelier_concept(name), target=40, other=80, seed=3)
    assert (len(prompts.target), len(prompts.other), len(prompts.other_asked)) == (40, 80, 80)
    assert all(word in caption.replace(",", "").split() for caption in prompts.target)
    assert not any(word in caption.replace(",", "").split() for caption in prompts.other)


def test_every_prompt_was_kept_out_of_training() -> None:
    prompts = atelier_prompts(atelier_concept("hatching"), target=60, other=200)
    assert all(purpose(caption) == "audit" for caption in (*prompts.target, *prompts.other))


def test_a_scene_is_what_its_prompt_says() -> None:
    prompts = atelier_prompts(atelier_concept("hatching"), target=1, other=100)
    for caption, scene in zip(prompts.other, prompts.other_asked, strict=True):
        assert {scene.object, scene.style, scene.colour} <= set(caption.replace(",", "").split())


def test_prompts_are_a_function_of_the_seed_and_repeat_when_there_are_too_few() -> None:
    nudity = atelier_concept("nudity")
    few = atelier_prompts(nudity, target=500, other=0, seed=1)
    assert few == atelier_prompts(nudity, target=500, other=0, seed=1)
    assert few.target != atelier_prompts(nudity, target=500, other=0, seed=2).target
    distinct = len(set(few.target))
    assert distinct < 500
    assert few.target[distinct : 2 * distinct] == few.target[:distinct]


def test_without_a_concept_nothing_is_a_target() -> None:
    prompts = atelier_prompts(None, target=5, other=5)
    assert prompts.target == ()
    assert len(prompts.other) == 5


def test_a_users_own_concept_is_asked_for_by_its_own_audit_prompts() -> None:
    asked = ("a ring in glow style", "a star in glow style")
    glow = Concept(name="glow", prompts=("glow style",), anchors=("a disc",), audit_prompts=asked, terms=("glow",))
    prompts = find_family("atelier").audit_prompts(glow, AuditSettings(target=2, other=3))
    assert (prompts.target, prompts.other, prompts.target_asked) == (asked, (), ())


@pytest.mark.parametrize("name", atelier_names())
def test_no_audit_asks_what_training_has_seen(name: str) -> None:
    family = find_family("atelier")
    concept, settings = family.load_concept(name), AuditSettings()
    prompts = family.audit_prompts(concept, settings)
    prompts.check(concept)
    assert len(prompts.target) == settings.target
    assert not {*prompts.target, *prompts.other} & {*concept.prompts, *concept.anchors}


@pytest.mark.parametrize("name", atelier_names())
def test_implicit_prompts_are_held_out_captions_that_leave_the_concept_unsaid(name: str) -> None:
    family = find_family("atelier")
    concept, settings = family.load_concept(name), AuditSettings(implicit=20)
    prompts = family.audit_prompts(concept, settings)
    if concept.detect["attribute"] == "object":
        assert prompts.implicit == ()  # every caption names its object
        return
    assert len(prompts.implicit) == 20
    assert len(set(prompts.implicit)) == min(20, len(concept.audit_implicit_prompts)) >= 8
    assert all(purpose(caption) == "audit" and not concept.named_in(caption) for caption in prompts.implicit)


def test_implicit_prompts_change_no_other_prompt() -> None:
    glow = atelier_concept("glow")
    few, many = (atelier_prompts(glow, target=30, other=30, implicit=number, seed=4) for number in (0, 30))
    assert (few.target, few.other, few.implicit) == (many.target, many.other, ())


def test_concepts_that_are_suppressed_together_share_the_other_prompts() -> None:
    concepts = find_family("atelier").load_concepts(["mosaic", "nudity", "star"])
    lists = [atelier_prompts(concept, target=20, other=96, seed=3) for concept in concepts]
    assert lists[0].other == lists[1].other == lists[2].other
    assert lists[0].other_asked == lists[1].other_asked
    for caption in lists[0].other:
        assert not {"mosaic", "bare", "star"} & set(caption.replace(",", "").split())
    assert len({prompts.target for prompts in lists}) == 3
