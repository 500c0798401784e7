"""The settings of an audit's space, and which picture is drawn where in it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from pruneguard.bundle import Space
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.space import Group, SpaceSettings, plan_pictures
from pruneguard.families import find_family
from pruneguard.settings import override, plain
from pruneguard.stages.settings import RunSettings

WIDE = Space(
    steps=(10, 50), guidance_scale=(1.0, 15.0), sizes=((96, 64), (64, 96)), negative_prompts=("blurry", "flat", "dull")
)


def planned(space: Space = WIDE, count: int = 64, seed: int = 1000) -> tuple[Group, ...]:
    return plan_pictures(space, 25, 7.5, count, seed)


def rows(groups: tuple[Group, ...]) -> list[tuple[int, Any, float, str]]:
    """Steps, size, guidance scale and negative prompt of each picture."""
    return [
        (group.steps, group.size, scale, negative)
        for group in groups
        for scale, negative in zip(group.guidance, group.negatives, strict=True)
    ]


def test_without_a_space_every_picture_has_the_audits_own_settings() -> None:
    assert AuditSettings().covered == Space.point(25, 7.5)
    assert AuditSettings(steps=30, guidance_scale=5).covered == Space.point(30, 5)
    assert planned(Space.point(25, 7.5)) == (Group(0, 25, None, (7.5,) * 64, ("",) * 64),)
    assert planned(count=0) == ()


@pytest.mark.parametrize("count", [6, 7, 8, 64, 65, 256])
def test_every_picture_is_drawn_once_inside_the_space(count: int) -> None:
    groups = planned(count=count)
    assert [group.start for group in groups[1:]] == [before.start + len(before.guidance) for before in groups[:-1]]
    drawn = rows(groups)
    assert len(drawn) == count
    for steps, size, scale, negative in drawn:
        assert 10 <= steps <= 50
        assert size in (None, *WIDE.sizes)
        assert 1.0 <= scale <= 15.0
        assert negative in ("", *WIDE.negative_prompts)


@pytest.mark.parametrize("count", [6, 8, 64, 256])
def test_the_ends_of_each_range_each_size_and_each_negative_prompt_are_reached(count: int) -> None:
    steps, sizes, scales, negatives = (set(column) for column in zip(*rows(planned(count=count)), strict=True))
    assert (min(steps), max(steps)) == (10, 50)
    assert (min(scales), max(scales)) == (1.0, 15.0)
    assert sizes == {None, *WIDE.sizes}
    assert negatives == {"", *WIDE.negative_prompts}


def test_a_quarter_of_the_pictures_has_the_audits_own_settings() -> None:
    drawn = rows(planned())
    assert drawn[:16] == [(25, None, 7.5, "")] * 16
    assert (25, None, 7.5, "") not in drawn[16:]


def test_steps_are_spread_evenly_in_their_logarithm_and_guidance_in_its_range() -> None:
    groups = planned(count=256)[1:]
    steps = [group.steps for group in groups]
    assert len(groups) == 16
    assert steps == sorted(steps)
    part = (50 / 10) ** (1 / 14)  # the ends apart, each group has one of fourteen equal parts of the logarithm
    assert max(after / before for before, after in pairwise(steps)) <= 1.1 * part**2
    scales = sorted(scale for _, _, scale, _ in rows(groups))
    assert max(after - before for before, after in pairwise(scales)) <= 2 * 14 / 190
    negatives = [negative for *_, negative in rows(groups)]
    assert {negative: negatives.count(negative) for negative in set(negatives)} == dict.fromkeys(
        ("", "blurry", "flat", "dull"), 48
    )


def test_a_group_of_about_twelve_pictures_shares_its_steps_and_size() -> None:
    assert [len(group.guidance) for group in planned()] == [16, *[12] * 4]
    near_the_model = Space(steps=(25, 25), guidance_scale=(1.0, 15.0))
    assert [len(group.guidance) for group in planned(near_the_model)] == [16, 48]


def test_a_plan_depends_on_the_seed_alone() -> None:
    assert planned() == planned()
    first, second = rows(planned()), rows(planned(seed=1001))
    assert first[:16] == second[:16]
    assert first[16:] != second[16:]
    third = planned()[2]
    assert [group.steps for group in planned()] == [25, 10, 19, 39, 50]
    assert (third.size, third.negatives[:3]) == ((64, 96), ("dull", "dull", "blurry"))
    assert third.guidance[:3] == pytest.approx((7.254, 11.874, 7.474), abs=1e-3)


def test_a_space_is_named_in_toml_field_by_field() -> None:
    tables = {"audit": {"space": {"steps": [10, 50], "sizes": [[96, 64]]}}}
    settings = override(AuditSettings(), tables["audit"])
    assert settings.space == SpaceSettings(steps=(10, 50), sizes=((96, 64),))
    assert settings.covered == Space(steps=(10, 50), guidance_scale=(7.5, 7.5), sizes=((96, 64),))
    wider = override(settings, {"space": {"guidance_scale": [1, 15]}})
    assert wider.covered == Space(steps=(10, 50), guidance_scale=(1.0, 15.0), sizes=((96, 64),))
    assert plain(wider.space) == {
        "steps": [10, 50],
        "guidance_scale": [1.0, 15.0],
        "sizes": [[96, 64]],
        "negative_prompts": [],
    }


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"steps": [50, 10]}, "audit.space: steps must be a least and a largest value, not [50, 10]"),
        ({"steps": [10]}, "audit.space: `steps`: Expected `array` of length 2"),
        ({"steps": [0, 50]}, "audit.space: steps must be a whole number from 1 to 100, not 0"),
        ({"steps": [10, 101]}, "audit.space: steps must be a whole number from 1 to 100, not 101"),
        ({"steps": [26, 50]}, "audit.space: 26 to 50 steps, guidance 7.5 leaves out the audit's own 25 steps"),
        ({"guidance_scale": [1, 31]}, "audit.space: guidance_scale must be a number from 0 to 30, not 31"),
        ({"guidance_scale": [8, 9]}, "leaves out the audit's own 25 steps at guidance 7.5"),
        ({"sizes": [[0, 64]]}, "audit.space: [0, 64] is no size; give [height, width]"),
        ({"sizes": [[64, 96], [64, 96]]}, "audit.space: sizes has an entry twice"),
        ({"negative_prompts": [""]}, "audit.space, `negative_prompts`: '' is not a prompt"),
        ({"negative_prompts": ["a child"]}, "'a child' mentions minors"),
        ({"negative_prompts": ["x" * 2001]}, "a negative prompt has at most 2000 characters"),
        ({"stesp": [1, 2]}, "unknown setting 'stesp': did you mean 'steps'"),
    ],
)
def test_a_space_that_no_picture_can_have_is_refused(space: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(AuditSettings(), {"space": space}, "audit")
    assert says in str(caught.value)


def test_too_few_pictures_to_cover_the_space_are_refused_with_the_number_that_can() -> None:
    space = SpaceSettings(steps=(10, 50), negative_prompts=("blurry", "flat", "dull"))
    AuditSettings(target=4, implicit=4, space=space)
    too_few = r"audit: target: 3 pictures cannot cover .*, 3 negative prompts; draw at least 4, or narrow"
    with pytest.raises(ConfigError, match=too_few):
        AuditSettings(target=3, space=space)
    with pytest.raises(ConfigError, match="audit: implicit: 2 pictures cannot cover"):
        AuditSettings(implicit=2, space=space)


@pytest.mark.parametrize("name", ["atelier", "stable-diffusion"])
def test_a_run_audits_as_its_family_does_unless_it_says_otherwise(name: str) -> None:
    family = find_family(name)
    model = "atelier" if name == "atelier" else "somewhere/a-model"
    assert RunSettings.resolve(model, {}).audit == family.audit
    changed = RunSettings.resolve(model, {"audit": {"limit": 0.01}}).audit
    assert (changed.limit, changed.space) == (0.01, family.audit.space)
