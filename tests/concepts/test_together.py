"""Concepts that are suppressed together: none teaches another one again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.concepts import Concept, suppress_together
from pruneguard.errors import ConfigError

FOG = Concept(
    name="fog",
    prompts=("a hill in fog", "a ship in fog"),
    anchors=("a hill", "a ship"),
    neighbours=("a hill in rain", "a ship in rain"),
    implicit_prompts=("a moor", "a ship at dawn"),
    audit_prompts=("a ship and fog",),
    terms=("fog", "haze"),
)
SHIP = Concept(name="ship", prompts=("a ship at sea",), anchors=("the sea",), terms=("ship", "boat"))


def test_a_concept_alone_stays_as_it_is() -> None:
    assert suppress_together([FOG]) == (FOG,)
    assert suppress_together([]) == ()


def test_what_is_drawn_instead_names_no_other_concept() -> None:
    fog, ship = suppress_together([FOG, SHIP])
    assert (fog.prompts, fog.anchors) == (("a hill in fog",), ("a hill",))
    assert fog.implicit_prompts == ("a moor",)
    assert fog.neighbours == ("a hill in rain",)
    assert fog.audit_prompts == FOG.audit_prompts  # what audits ask stays
    assert (ship.prompts, ship.companions) == (SHIP.prompts, ("fog", "haze"))


def test_what_is_drawn_instead_does_not_call_up_another_concept_unnamed() -> None:
    moor = Concept(name="sun", prompts=("the sun", "a sunny moor"), anchors=("the sky", "a moor"), terms=("sun",))
    sun, _ = suppress_together([moor, FOG])
    assert sun.prompts == ("the sun",)


def test_an_anchor_that_a_companion_asks_for_gives_way_to_what_is_drawn_there_instead() -> None:
    red = Concept(name="red", prompts=("a red ship", "red"), anchors=("a ship at sea", "blue"), terms=("red",))
    found, _ = suppress_together([red, SHIP])
    assert (found.prompts, found.anchors) == (("a red ship", "red"), ("the sea", "blue"))
    assert suppress_together([red])[0] == red


def test_anchors_that_lead_back_are_left_out() -> None:
    day = Concept(name="day", prompts=("a day", "noon"), anchors=("a night", "an hour"), terms=("day",))
    night = Concept(name="night", prompts=("a night", "midnight"), anchors=("a day", "an hour"), terms=("night",))
    assert [concept.prompts for concept in suppress_together([day, night])] == [("noon",), ("midnight",)]
    # Nor may a companion's anchor bring the concept back under another name.
    dusk = Concept(name="dusk", prompts=("a night", "dusk"), anchors=("a day hour", "an hour"), terms=("dusk", "night"))
    assert suppress_together([day, dusk])[0].prompts == ("noon",)


def test_an_anchor_that_calls_up_a_companion_gives_way_to_the_anchor_of_a_prompt_that_says_the_same() -> None:
    sun = Concept(name="sun", prompts=("a sunny hill",), anchors=("a hill",), terms=("sun", "sunny"))
    gloom = replace(FOG, implicit_prompts=("a hill",), anchors=("a clear hill", "a clear ship"))
    found, _ = suppress_together([sun, gloom])
    assert (found.prompts, found.anchors) == (("a sunny hill",), ("a clear hill",))


def test_an_anchor_that_leads_to_the_concepts_own_implicit_prompt_is_left_out() -> None:
    glow = Concept(
        name="glow",
        prompts=("a glowing tower", "a glow"),
        anchors=("a tower at night", "a dull thing"),
        implicit_prompts=("a city at night",),
        terms=("glow", "glowing"),
    )
    tower = Concept(
        name="tower", prompts=("a tower at night", "a tower"), anchors=("a city at night", "a hill"), terms=("tower",)
    )
    for concepts in ([glow, tower], [tower, glow]):
        found = next(concept for concept in suppress_together(concepts) if concept.name == "glow")
        assert found.prompts == ("a glow",)


def test_what_names_a_companion_may_change() -> None:
    fog, _ = suppress_together([FOG, SHIP])
    assert [fog.may_change(text) for text in ("haze", "a Boat", "a shipyard")] == [True, True, False]
    assert not fog.named_in("a boat")


def test_a_concept_whose_every_anchor_is_suppressed_is_refused() -> None:
    hill = Concept(name="hill", prompts=("a hill",), anchors=("a boat",), terms=("hill",))
    with pytest.raises(ConfigError, match=r"'hill': all its anchors call for another .* such as 'a boat'; give it"):
        suppress_together([hill, SHIP])


def test_a_name_counts_once() -> None:
    with pytest.raises(ConfigError, match="two concepts are called 'fog'"):
        suppress_together([FOG, FOG])


def test_a_prompt_of_one_concept_cannot_audit_another() -> None:
    fog = Concept(name="fog", prompts=("a hill in fog",), anchors=("a hill",), terms=("fog",))
    hill = Concept(
        name="hill", prompts=("a hill",), anchors=("a plain",), audit_prompts=("a hill in fog",), terms=("hill",)
    )
    with pytest.raises(ConfigError, match="'hill': its audit asks 'a hill in fog', and 'fog' trains with it"):
        suppress_together([hill, fog])
