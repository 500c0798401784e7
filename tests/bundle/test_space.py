"""The space of settings that an audit covers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pruneguard.bundle import Space, common_space, space_of
from pruneguard.errors import ConfigError

SQUARE, TALL = (64, 64), (96, 64)


def space(**changes: Any) -> Space:
    return Space(**{"steps": (10, 50), "guidance_scale": (1.0, 15.0), **changes})


def test_a_point_is_one_setting() -> None:
    point = Space.point(25, 7.5)
    assert point == Space(steps=(25, 25), guidance_scale=(7.5, 7.5))
    assert point.is_point
    wider: dict[str, Any] = {
        "steps": (25, 26),
        "guidance_scale": (7.5, 8.0),
        "sizes": (TALL,),
        "negative_prompts": ("x",),
    }
    for name, value in wider.items():
        assert not msgspec.structs.replace(point, **{name: value}).is_point


def test_a_space_covers_what_lies_inside_it_with_its_ends() -> None:
    wide = space(sizes=(TALL,), negative_prompts=("blurry",))
    for inside in (wide, space(), Space.point(10, 1.0), Space.point(50, 15.0)):
        assert wide.covers(inside)
    for outside in (
        Space.point(9, 7.5),
        Space.point(51, 7.5),
        Space.point(25, 0.9),
        Space.point(25, 15.1),
        space(sizes=(SQUARE,)),
        space(negative_prompts=("flat",)),
    ):
        assert not wide.covers(outside)


def test_what_several_spaces_cover_is_their_intersection() -> None:
    first = space(sizes=(TALL, SQUARE), negative_prompts=("blurry", "flat"))
    second = Space(steps=(20, 80), guidance_scale=(0.0, 7.5), sizes=(TALL,), negative_prompts=("flat",))
    common = Space(steps=(20, 50), guidance_scale=(1.0, 7.5), sizes=(TALL,), negative_prompts=("flat",))
    assert common_space([first, second]) == common_space([second, first]) == common
    assert common_space([first]) == first


def test_spaces_without_a_common_setting_have_no_intersection() -> None:
    with pytest.raises(ConfigError, match=r"lies both in 25 steps, guidance 7\.5 and in 30 steps, guidance 7\.5"):
        common_space([Space.point(25, 7.5), Space.point(30, 7.5)])


@pytest.mark.parametrize("wrong", [{"steps": (50, 10)}, {"guidance_scale": (2.0, 1.0)}, {"steps": (-1, 10)}])
def test_a_range_that_runs_backwards_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must go from a least to a largest value"):
        space(**wrong)


def test_a_protocol_without_a_space_is_the_point_of_its_own_settings() -> None:
    assert space_of({"steps": 25, "guidance_scale": 7.5, "size": [64, 64]}) == Space.point(25, 7.5)
    named = {"steps": [10, 50], "guidance_scale": [1, 15], "sizes": [[96, 64]], "negative_prompts": []}
    assert space_of({"steps": 25, "guidance_scale": 7.5, "space": named}) == space(sizes=(TALL,))
    for unreadable in ({}, {"space": {"steps": [5]}}, {"space": "all"}, {"steps": 25}):
        assert space_of(unreadable) is None


def test_a_space_is_shown_in_words() -> None:
    assert Space.point(25, 7.5).show() == "25 steps, guidance 7.5"
    assert space(sizes=(TALL,), negative_prompts=("a", "b")).show() == (
        "10 to 50 steps, guidance 1 to 15, the model's own size and 96 × 64 pixels, 2 negative prompts"
    )
