from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

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
    implicit_prompts=("water lilies",),
    audit_implicit_prompts=("a bridge over water lilies", "haystacks"),
    terms=("Monet",),
)


def test_audit_prompts_and_neighbours_are_repeated_in_turn() -> None:
    prompts = concept_prompts(MONET, target=3, other=2, implicit=3)
    assert prompts.target == ("a pond by Monet", "a field by Monet", "a pond by Monet")
    assert prompts.other == ("by Manet", "by Manet")
    assert prompts.implicit == ("a bridge over water lilies", "haystacks", "a bridge over water lilies")
    assert prompts.target_asked == prompts.other_asked == ()


def test_a_concept_without_audit_prompts_is_not_asked_for_by_those_of_training() -> None:
    untold = replace(MONET, audit_prompts=())
    with pytest.raises(ConfigError, match=r"no prompt asks for 'monet', .*; give it audit_prompts"):
        concept_prompts(untold, target=3, other=0, implicit=0).check(untold)


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


@pytest.mark.parametrize(
    ("implicit", "says"),
    [
        (("water lilies", "haystacks"), "'water lilies' was used in training; give the concept other audit_implicit_"),
        (("by  monet", "haystacks"), "'by  monet' names the concept"),
        (("haystacks",) * 64, "1 different prompts ask for it without its name and at least 8 are needed"),
        (("haystacks", "a child among haystacks"), "'a child among haystacks' mentions minors"),
    ],
)
def test_implicit_prompts_that_show_nothing_or_may_not_be_drawn_are_refused(
    implicit: tuple[str, ...], says: str
) -> None:
    target = MONET.audit_prompts
    AuditPrompts(target, (), implicit=MONET.audit_implicit_prompts).check(MONET)
    with pytest.raises(ConfigError, match=says):
        AuditPrompts(target, (), implicit=implicit).check(MONET)


def test_a_naming_prompt_may_not_be_one_of_trainings_implicit_ones() -> None:
    with pytest.raises(ConfigError, match="'water lilies' was used in training; give the concept other audit_prompts"):
        AuditPrompts(("water lilies", "a pond by Monet"), ()).check(MONET)


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


def test_the_digest_has_the_implicit_prompts_and_is_as_before_without_any() -> None:
    before = sha256(b'[["a", "b"], ["c"]]').hexdigest()
    assert AuditPrompts(("a", "b"), ("c",)).digest == before
    assert len({AuditPrompts(("a", "b"), ("c",), implicit=said).digest for said in ((), ("d",), ("d", "e"))}) == 3


def test_the_prompts_of_some_targets_keep_all_others() -> None:
    prompts = AuditPrompts(("a", "b", "c"), ("d",), (1, 2, 3), (4,), implicit=("e",))
    assert prompts.of_targets((2, 0)) == AuditPrompts(("c", "a"), ("d",), (3, 1), (4,), implicit=("e",))
