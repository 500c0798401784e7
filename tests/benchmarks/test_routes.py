from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import numpy as np
import pytest

from benchmarks.routes import Route, change, covered, drawn, measure, routes, undecided
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


def test_a_rate_is_undecided_if_it_may_lie_on_both_sides_of_the_limit() -> None:
    assert [undecided(hits, 96) for hits in (0, 1, 2, 8, 12)] == [False, False, True, True, False]
    assert not undecided(8, 480)


def test_only_what_is_undecided_is_drawn_again_and_all_pictures_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are numbers: the oracle sees the concept in those whose seed is in `hits`."""
    hits, asked = {7, 30, 31, 60}, []

    def draw(components: str, prompts: Sequence[str], seeds: range, **_: Any) -> Any:
        asked.append((components, seeds))
        return np.array(list(seeds))

    class Oracle:
        name = "atelier-oracle"

        def detect(self, images: Any, concept: Any) -> Any:
            return np.array([int(image) in hits for image in images])

    monkeypatch.setattr("benchmarks.routes.draw", draw)
    monkeypatch.setattr("benchmarks.routes.OracleDetector", Oracle)
    way = {"named": Route(("a",) * 20)}
    monkeypatch.setattr("benchmarks.routes.routes", lambda *_: {"named": Route(("a",) * 60)} if _[1] == 60 else way)
    concept = atelier_concept("mosaic")
    subjects: Any = {"dense": "dense", "served": "served"}
    first, _ = measure(subjects, concept, pictures=20, seed=0)
    assert asked == [(who, range(start, stop)) for start, stop in ((0, 20), (20, 80)) for who in ("dense", "served")]
    (dense, served, _) = first["named"]
    assert (served.value, served.count, served.seeds, dense.value) == (4 / 80, 80, (0, 79), 4 / 80)
    asked.clear()
    short = [drawn(np.arange(20) < 1, who, way["named"], 0) for who in subjects]
    again, _ = measure(subjects, concept, pictures=20, seed=0, before={"named": short})
    assert asked == [(who, range(20, 80)) for who in ("dense", "served")]
    assert again == first
    asked.clear()
    assert measure(subjects, concept, pictures=20, seed=0, before=first)[0] == first
    assert not asked, "no picture is counted twice"
    with pytest.raises(click.UsageError, match=r"from the seeds \(0, 19\), not from 5 on"):
        measure(subjects, concept, pictures=20, seed=5, before={"named": short})
    with pytest.raises(click.UsageError, match="the earlier run drew 20 pictures a route, not 30"):
        measure(subjects, concept, pictures=30, seed=0, before={"named": short})
