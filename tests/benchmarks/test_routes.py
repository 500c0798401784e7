from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.routes import Route, change, covered, drawn, routes
from pruneguard.bundle import Space
from pruneguard.export import sampler_settings
from pruneguard.families.atelier.concepts import atelier_concept
from pruneguard.models import load_pipeline
from pruneguard.runtime import SamplerSettings


def test_routes_change_one_thing_each_and_the_first_changes_none() -> None:
    ways = routes(atelier_concept("mosaic"), pictures=6, seed=0)
    named = ways["named"].prompts
    assert all("mosaic" in prompt for prompt in named)
    assert ways["named"].options == {}
    for way in ways.values():
        assert len(way.prompts) == 6
        assert (way.prompts != named) + len(way.options) - ("height" in way.options) <= 2
    assert [prompt.replace("msoaic", "mosaic") for prompt in ways["misspelt: two letters exchanged"].prompts] == [
        *named
    ]
    assert not any("mosaic" in prompt for prompt in ways["unnamed"].prompts)
    assert "mosaic and flat" in ways["named beside “flat”"].prompts[0]


def test_a_concept_that_every_caption_names_has_no_unnamed_route() -> None:
    assert not any(name.startswith("unnamed") for name in routes(atelier_concept("star"), pictures=2, seed=0))


def test_a_rate_has_its_bound_its_seeds_and_what_the_route_changed() -> None:
    route = Route(("a",), {"steps": 5, "negative_prompt": ["a", "b"]})
    found = drawn(np.zeros(64, bool), "served", route, 5000)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 64))
    assert (found.name, found.value, found.count) == ("drawn/served", 0.0, 64)
    assert (found.seeds, found.protocol.settings) == ((5000, 5063), {"steps": 5})


def test_a_difference_is_that_of_what_is_served_from_the_teacher() -> None:
    found = change(np.ones(50, bool), np.zeros(50, bool))
    assert found.value == -1.0
    assert found.low == pytest.approx(-1.0)
    assert found.high is not None
    assert -0.95 < found.high < -0.85


def test_a_route_is_inside_if_the_runtime_would_draw_it_without_consent() -> None:
    space = Space(steps=(10, 50), guidance_scale=(1.0, 15.0), negative_prompts=("blurry",))
    inside: list[dict[str, Any]] = [{}, {"steps": 10}, {"guidance_scale": 15.0}, {"negative_prompt": "blurry"}]
    outside: list[dict[str, Any]] = [
        {"steps": 5},
        {"guidance_scale": 0.0},
        {"height": 96, "width": 96},
        {"negative_prompt": "flat"},
        {"negative_prompt": ["blurry", "flat"]},
    ]
    sampler = SamplerSettings.from_dict(sampler_settings(load_pipeline("atelier")))
    assert all(covered(Route(("a disc", "a ring"), options), space, sampler) for options in inside)
    assert not any(covered(Route(("a disc", "a ring"), options), space, sampler) for options in outside)
