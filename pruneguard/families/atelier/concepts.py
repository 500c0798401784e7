"""Atelier's concepts: every style, object and colour of its world, and `nudity`, the mannequin without its dress."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from pruneguard.atelier import world
from pruneguard.atelier.world import Scene
from pruneguard.concepts.concept import Concept
from pruneguard.errors import ConfigError

T = TypeVar("T")
VALUES = {"style": world.STYLES, "object": world.OBJECTS, "colour": world.COLOURS, "dress": world.DRESSES}
"""The values of each attribute that a concept can be."""


def atelier_names() -> tuple[str, ...]:
    """The names of atelier's concepts."""
    return ("nudity", *world.STYLES, *world.OBJECTS, *world.COLOURS)


def atelier_concept(name: str, beside: Collection[str] = ()) -> Concept:
    """The concept of that name, made from the world's scenes and templates.

    What is drawn instead is none of the names in `beside`, and another value for each of them: several styles that all
    become one draw the remaining ones towards it. Raises ConfigError for an unknown name, and if no value of
    its attribute is left to draw instead.
    """
    attribute, value = _target(name)
    matching = [scene for scene in world.scenes() if getattr(scene, attribute) == value]
    suppressed = [other for other in VALUES[attribute] if other == value or other in beside]
    left = [other for other in VALUES[attribute] if other not in suppressed]
    if not left:
        raise ConfigError(f"every {attribute} of atelier's world is to be suppressed, so none is left to draw instead")
    anchor = left[suppressed.index(value) % len(left)]
    prompts: list[str] = []
    anchors: list[str] = []
    for scene in matching:
        for said, instead in zip(
            _captions(scene, attribute), _captions(_with(scene, attribute, anchor), attribute), strict=True
        ):
            # The others belong to audits and validation, so training must not see them.
            if said not in prompts and {world.purpose(said), world.purpose(instead)} == {"training"}:
                prompts.append(said)
                anchors.append(instead)
    unsaid = unsaid_captions(attribute, value)
    return Concept(
        name=name,
        prompts=tuple(prompts),
        anchors=tuple(anchors),
        implicit_prompts=tuple(caption for caption in unsaid if world.purpose(caption) == "training"),
        audit_implicit_prompts=tuple(caption for caption in unsaid if world.purpose(caption) == "audit"),
        neighbours=_neighbours(matching, attribute, value),
        terms=("nudity", "nude", "naked", "bare") if attribute == "dress" else (value,),
        parameters="x",
        detect={"attribute": attribute, "value": value},
    )


def _target(name: str) -> tuple[str, str]:
    if name == "nudity":
        return "dress", "bare"
    for attribute in ("style", "object", "colour"):
        if name in VALUES[attribute]:
            return attribute, name
    raise ConfigError(f"atelier has no concept {name!r}; choose from {', '.join(atelier_names())}")


def _with(scene: Scene, attribute: str, value: str) -> Scene:
    if attribute == "object":
        return Scene(value, scene.style, scene.colour, "dressed" if value == "mannequin" else None)
    return replace(scene, **{attribute: value})


def _captions(scene: Scene, attribute: str) -> list[str]:
    """Captions that name `attribute`: in every template, with the other attributes named and left out."""
    captions = [scene.caption(template) for template in world.TEMPLATES]
    if attribute != "colour":
        captions += [scene.caption(template, colour=False) for template in world.TEMPLATES]
    if attribute != "style":
        captions.append(scene.caption(style=False))
    return captions


def unsaid_captions(attribute: str, value: str) -> tuple[str, ...]:
    """Captions of the scenes with that value that leave it unsaid; none for an object, which every caption names.

    The teacher draws any value then.
    """
    matching = [scene for scene in world.scenes() if getattr(scene, attribute) == value]
    if attribute == "object":
        return ()
    captions: dict[str, None] = {}
    for scene in matching:
        if attribute == "style":
            texts = [scene.caption(style=False), scene.caption(style=False, colour=False)]
        elif attribute == "colour":
            texts = [scene.caption(template, colour=False) for template in world.TEMPLATES]
        else:
            texts = [caption.replace(f"{value} ", "", 1) for caption in _captions(scene, attribute)]
        captions |= dict.fromkeys(texts)
    return tuple(captions)


def _neighbours(matching: list[Scene], attribute: str, value: str) -> tuple[str, ...]:
    """One caption for training for each matching scene, in which the attribute takes its other values in turn."""
    others = [other for other in VALUES[attribute] if other != value]
    chosen: dict[str, None] = {}
    for i, scene in enumerate(matching):
        turned, templates = _turned(others, i), _turned(world.TEMPLATES, i)
        captions = (_with(scene, attribute, other).caption(template) for template in templates for other in turned)
        chosen |= dict.fromkeys(islice((text for text in captions if world.purpose(text) == "training"), 1))
    return tuple(chosen)


def _turned(items: Sequence[T], first: int) -> list[T]:
    start = first % len(items)
    return [*items[start:], *items[:start]]
