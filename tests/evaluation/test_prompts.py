from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts

MONET = Concept(
    name="monet",
    prompts=("by Monet", "Monet"),
    anchors=("a painting", "a painter"),
    neighbours=("by Manet",),
    audit_prompts=("a pond by Monet", "a field by Monet"),
    terms=("Monet",),
)


def test_audit_prompts_and_neighbours_are_repeated_in_turn() -> None:
    prompts = concept_prompts(MONET, target=3, other=2)
    assert prompts.target == ("a pond by Monet", "a field by Monet", "a pond by Monet")
    assert prompts.other == ("by Manet", "by Manet")
    assert prompts.target_asked == prompts.other_asked == ()


def test_a_concept_without_audit_prompts_is_not_asked_for_by_those_of_training() -> None:
    untold = replace(MONET, audit_prompts=())
    with pytest.raises(ConfigError, match=r"no prompt asks for 'monet', .*; give it audit_prompts"):
        concept_prompts(untold, target=3, other=0).check(untold)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ((), "no prompt asks for 'monet'"),
        (("by Monet", "a pond by Monet"), "'by Monet' was used in training"),
        (("a pond by Monet",) * 64, "1 different prompts ask for it and at least 8 are needed"),
        (tuple(f"{i % 7} ponds by Monet" for i in range(64)), "7 different prompts .* at least 8 are needed"),
        (("a pond by Monet",) * 2, "1 different prompts ask for it and at least 2 are needed"),
        (("a pond by Monet", "a child by Monet"), "'a child by Monet' mentions minors"),
    ],
)
def test_prompts_that_show_nothing_or_may_not_be_drawn_are_refused(target: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AuditPrompts(target, ()).check(MONET)


def test_eight_different_prompts_will_do_and_seven_will_not() -> None:
    def accepted(different: int) -> bool:
        try:
            AuditPrompts(tuple(f"{i % different} ponds by Monet" for i in range(64)), ()).check(MONET)
        except ConfigError:
            return False
        return True

    assert [accepted(different) for different in (7, 8, 64)] == [False, True, True]


def test_equal_prompts_have_one_digest() -> None:
    prompts = AuditPrompts(("a", "b"), ("c",))
    assert prompts.digest == AuditPrompts(("a", "b"), ("c",), target_asked=(1, 2)).digest
    assert len({prompts.digest, AuditPrompts(("a",), ("b", "c")).digest, AuditPrompts(("b", "a"), ("c",)).digest}) == 3
