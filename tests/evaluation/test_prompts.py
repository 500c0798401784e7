from __future__ import annotations

import pytest

from pruneguard.atelier.world import held_out
from pruneguard.concepts import Concept, load_concept
from pruneguard.evaluation.prompts import atelier_prompts, general_prompts


@pytest.mark.parametrize(("name", "word"), [("hatching", "hatching"), ("nudity", "bare"), ("red", "red")])
def test_target_prompts_call_for_the_concept_and_no_other_does(name: str, word: str) -> None:
    prompts = atelier_prompts(load_concept(name, family="atelier"), target=40, other=80, seed=3)
    assert (len(prompts.target), len(prompts.other), len(prompts.scenes)) == (40, 80, 80)
    assert all(word in caption.replace(",", "").split() for caption in prompts.target)
    assert not any(word in caption.replace(",", "").split() for caption in prompts.other)


def test_every_prompt_was_kept_out_of_training() -> None:
    prompts = atelier_prompts(load_concept("hatching", family="atelier"), target=60, other=200)
    assert all(held_out(caption) for caption in (*prompts.target, *prompts.other))


def test_a_scene_is_what_its_prompt_says() -> None:
    prompts = atelier_prompts(load_concept("hatching", family="atelier"), target=1, other=100)
    for caption, scene in zip(prompts.other, prompts.scenes, strict=True):
        assert {scene.object, scene.style, scene.colour} <= set(caption.replace(",", "").split())


def test_prompts_are_a_function_of_the_seed_and_come_round_again_when_few() -> None:
    nudity = load_concept("nudity", family="atelier")
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


def test_elsewhere_a_concepts_own_prompts_and_neighbours_are_cycled() -> None:
    asked, instead, near = ("by Monet", "Monet"), ("a painting", "a painter"), ("by Manet",)
    concept = Concept(name="monet", prompts=asked, anchors=instead, neighbours=near, terms=("Monet",))
    prompts = general_prompts(concept, target=3, other=2)
    assert prompts.target == ("by Monet", "Monet", "by Monet")
    assert prompts.other == ("by Manet", "by Manet")
    assert prompts.scenes == ()


def test_an_audit_asks_what_training_has_not_seen() -> None:
    for name in ("monet", "picasso", "van-gogh"):
        concept = load_concept(name, family="general")
        prompts = general_prompts(concept, target=20, other=0)
        assert not set(prompts.target) & set(concept.prompts)
        assert all(concept.named_in(prompt) for prompt in prompts.target)
