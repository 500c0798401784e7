"""Guards: verdicts, refusals, and closing on doubt."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pruneguard.errors import ConfigError, GuardFailure, Refusal
from pruneguard.runtime import ConceptTermsGuard, GuardRefusal, MinorsGuard, Verdict, run_guards


def test_minors_guard_says_why() -> None:
    guard = MinorsGuard()
    assert guard.check_prompt("a red star") == Verdict("minors", "allow", 0.0, 1.0, "minors")
    assert guard.check_prompt("a child") == Verdict("minors", "refuse", 1.0, 1.0, "minors")


def test_concept_terms_match_whole_words_only() -> None:
    guard = ConceptTermsGuard.from_concepts({"van-gogh": {"terms": ["van Gogh", "Starry Night"]}})
    assert guard.check_prompt("a VAN-GOGH painting").concept == "van-gogh"
    assert guard.check_prompt("the starry   night").decision == "refuse"
    assert guard.check_prompt("a van, going home at night").decision == "allow"


def test_concept_terms_of_other_letters_are_found_as_they_are_written() -> None:
    guard = ConceptTermsGuard.from_concepts({"monet": {"terms": ["Monet", "モネ"]}})
    assert guard.check_prompt("モネの睡蓮").decision == "refuse"
    assert guard.check_prompt("ﾓﾈの睡蓮").decision == "refuse"
    assert guard.check_prompt("モ\u200bネの睡蓮").decision == "refuse"
    assert guard.check_prompt("北斎の波").decision == "allow"


def test_marks_that_make_another_letter_make_another_word() -> None:
    """A voiced kana and a Korean syllable are letters of their own: glass is no crow."""
    guard = ConceptTermsGuard({"glass": ("ガラス",), "edge": ("가",)})
    assert [guard.check_prompt(text).decision for text in ("ガラスの絵", "カラスの絵", "각")] == [
        "refuse",
        "allow",
        "allow",
    ]


def test_concept_terms_need_terms() -> None:
    for terms in ((), [], ["Monet", " "]):
        with pytest.raises(ConfigError, match="no terms"):
            ConceptTermsGuard({"monet": terms})


def test_a_refusal_carries_code_index_and_verdicts() -> None:
    refuse = Verdict("style", "refuse", 0.9, 0.5, "monet")
    allow = Verdict("minors", "allow", 0.0, 1.0, "minors")
    with pytest.raises(Refusal, match=r"prompt 3 was refused by style \(monet\)") as caught:
        run_guards([("minors", lambda: allow), ("style", lambda: refuse)], "prompt", 3)
    assert isinstance(caught.value, GuardRefusal)
    assert caught.value.code == "content_policy_violation"
    assert (caught.value.verdicts, caught.value.index) == ((allow, refuse), 3)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("style", "allow", math.nan, 0.5, "monet"),
        Verdict("style", "allow", 0.1, math.nan, "monet"),
        Verdict("style", "refuse", math.inf, 0.5, "monet"),
        Verdict("style", "allow", 0.9, 0.5, "monet"),
        Verdict("style", "maybe", 0.1, 0.5, "monet"),  # type: ignore[arg-type]
        True,
    ],
)
def test_an_unsound_verdict_is_a_failure(verdict: Any) -> None:
    with pytest.raises(GuardFailure, match="guard 'style'"):
        run_guards([("style", lambda: verdict)], "image")


def test_a_guard_that_raises_is_a_failure() -> None:
    def broken() -> Verdict:
        raise ZeroDivisionError("no weights")

    with pytest.raises(GuardFailure, match=r"guard 'style' failed on image 0 \(no weights\)"):
        run_guards([("style", broken)], "image")
