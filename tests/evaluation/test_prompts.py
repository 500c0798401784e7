from __future__ import annotations

from dataclasses import replace

from pruneguard.concepts import Concept
from pruneguard.evaluation.prompts import concept_prompts

MONET = Concept(
    name="monet",
    prompts=("by Monet", "Monet"),
    anchors=("a painting", "a painter"),
    neighbours=("by Manet",),
    terms=("Monet",),
)


def test_a_concepts_own_prompts_and_neighbours_are_repeated_in_turn() -> None:
    prompts = concept_prompts(MONET, target=3, other=2)
    assert prompts.target == ("by Monet", "Monet", "by Monet")
    assert prompts.other == ("by Manet", "by Manet")
    assert prompts.target_asked == prompts.other_asked == ()


def test_audit_prompts_come_before_the_prompts_of_training() -> None:
    prompts = concept_prompts(replace(MONET, audit_prompts=("a pond by Monet",)), target=2, other=0)
    assert prompts.target == ("a pond by Monet", "a pond by Monet")
