from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation import drawing
from pruneguard.evaluation.audit import AuditSettings, run_audit
from pruneguard.evaluation.bounds import upper_bound
from pruneguard.evaluation.metrics.metric import AuditPictures
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.evaluation.space import SpaceSettings
from pruneguard.measurement import Measurement, Protocol, find
from pruneguard.models import Pipeline
from pruneguard.runtime import EngineError, draw, torch_components
from pruneguard.settings import plain

GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc",), terms=("glow",))
BRIEF = AuditSettings(target=3, other=2, steps=2, batch_size=2)
PROMPTS = AuditPrompts(tuple(f"a {shape} in glow style" for shape in ("ring", "star", "cross")), ("a star", "a ring"))


class Bright:
    """Sees the concept in pictures that are brighter than a limit."""

    name = "bright"

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def check(self, concept: Concept) -> None:
        pass

    def detect(self, images: NDArray[np.uint8], concept: Concept) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = images.mean((1, 2, 3)) > self.limit
        return found


def brightness(pictures: AuditPictures) -> list[Measurement]:
    """A metric of the pictures that do not call for the concept."""
    value = float(pictures.other.mean() / 255)
    return [Measurement(name="bright/other", value=value, count=len(pictures.other), protocol=Protocol(backbone="eye"))]


def test_drawn_is_the_share_of_target_pictures_that_show_it_with_its_bound(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    result = run_audit(components, GLOW, PROMPTS, Bright(-1.0), BRIEF, subject="model")
    assert (result.drawn.value, result.drawn.high, result.concept) == (1.0, 1.0, "glow")
    assert (result.target_images.shape, result.other_images.shape) == ((3, 64, 64, 3), (2, 64, 64, 3))
    brightest = np.sort(result.target_images.mean((1, 2, 3)))
    some = run_audit(components, GLOW, PROMPTS, Bright(float(brightest[:2].mean())), BRIEF, subject="model")
    shown = int(np.sum(result.other_images.mean((1, 2, 3)) > brightest[:2].mean()))
    way = {"steps": 2, "guidance_scale": 7.5, "size": [64, 64]}
    protocol = {"subject": "model", "detector": "bright", "backbone": "", "settings": way}
    assert some.to_dict() == {
        "concept": "glow",
        "measurements": [
            {
                "name": name,
                "value": count / of,
                "unit": "share",
                "low": None,
                "high": upper_bound(count, of),
                "interval": "95 % bound",
                "count": of,
                "seeds": [first, first + of - 1],
                "protocol": protocol,
            }
            for name, count, of, first in (("drawn", 2, 3, 1000), ("drawn/elsewhere", shown, 2, 1_001_000))
        ],
    }
    assert some.prompts == PROMPTS.digest


def test_an_engine_to_which_all_prompts_are_one_is_not_audited(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    deaf = replace(components, tokenizer=lambda prompts: components.tokenizer(["a disc"] * len(prompts)))
    with pytest.raises(EngineError, match="all prompts give the same text states"):
        run_audit(deaf, GLOW, PROMPTS, Bright(0), BRIEF)


def test_a_metric_sees_all_pictures_and_its_measurements_say_who_drew_them_and_how(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    result = run_audit(components, GLOW, PROMPTS, Bright(0), BRIEF, subject="engine", metrics=[brightness])
    measured = find(result.measurements, "bright/other")
    assert measured is not None
    assert measured.value == pytest.approx(result.other_images.mean() / 255)
    assert (measured.count, measured.protocol.subject, measured.protocol.backbone) == (2, "engine", "eye")
    assert measured.protocol.settings == {"steps": 2, "guidance_scale": 7.5, "size": [64, 64]}


def test_a_picture_depends_on_its_place_and_not_on_the_batch_it_was_drawn_in(tiny_pipeline: Pipeline) -> None:
    components, counts = torch_components(tiny_pipeline), list[int]()
    pairs = run_audit(components, GLOW, PROMPTS, Bright(0), BRIEF, on_images=counts.append)
    single = run_audit(components, GLOW, PROMPTS, Bright(0), replace(BRIEF, batch_size=1))
    assert counts == [2, 1, 2]
    assert int(np.abs(pairs.target_images.astype(int) - single.target_images).max()) <= 1
    assert not np.array_equal(pairs.target_images[0], pairs.target_images[1])


def test_a_list_that_mentions_minors_is_never_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(drawing, "draw", lambda *given, **options: drawn.append(given))
    prompts = AuditPrompts(("a ball",), ("a ring", "a photograph of a child"))
    with pytest.raises(ConfigError, match="audit of 'glow': 'a photograph of a child' mentions minors"):
        run_audit(None, GLOW, prompts, Bright(0), BRIEF)  # type: ignore[arg-type]
    assert drawn == []


def test_an_audit_in_which_nothing_asks_for_the_concept_is_none() -> None:
    with pytest.raises(ConfigError, match="no prompt asks for 'glow'"):
        run_audit(None, GLOW, AuditPrompts((), ("a ring",)), Bright(0), BRIEF)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": 0},
        {"other": -1},
        {"batch_size": 0},
        {"implicit": 0},
        {"calibration": 4},
        {"limit": 1.5},
        {"limit": -0.1},
        {"floor": 1.1},
        {"keep": float("nan")},
        {"steps": 0},
        {"steps": 101},
        {"guidance_scale": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_that_make_no_audit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="audit"):
        AuditSettings(**wrong)


UNNAMED = ("a ring that shines", "a star that shines", "a cross that shines")


def test_implicit_prompts_have_a_rate_of_their_own_beside_the_naming_ones(tiny_pipeline: Pipeline) -> None:
    prompts = replace(PROMPTS, implicit=UNNAMED)
    result = run_audit(torch_components(tiny_pipeline), GLOW, prompts, Bright(-1.0), BRIEF)
    found = {entry.name: (entry.value, entry.high, entry.count, entry.seeds) for entry in result.measurements}
    assert found == {
        "drawn": (1.0, 1.0, 3, (1000, 1002)),
        "drawn/implicit": (1.0, 1.0, 3, (2_001_000, 2_001_002)),
        "drawn/elsewhere": (1.0, 1.0, 2, (1_001_000, 1_001_001)),
    }


WIDE = SpaceSettings(steps=(1, 3), guidance_scale=(1.0, 15.0), sizes=((32, 64),), negative_prompts=("a square",))
SPREAD = replace(BRIEF, target=6, implicit=6, space=WIDE)
ASKED = AuditPrompts(
    tuple(f"a {shape} in glow style" for shape in ("ring", "star", "cross", "heart", "moon", "square")),
    ("a star", "a ring"),
    implicit=tuple(f"{text} {when}" for text in UNNAMED for when in ("by day", "at night")),
)


class Recorder:
    """Draws as the runtime does, and keeps the prompts, the seeds and the settings of each picture."""

    def __init__(self) -> None:
        self.pictures: list[tuple[Any, ...]] = []

    def __call__(self, parts: Any, prompts: Any, seeds: Any, **options: Any) -> Any:
        shared = (options["steps"], options["height"], options["width"])
        rows = zip(prompts, seeds, options["guidance_scale"], options["negative_prompt"], strict=True)
        self.pictures += [(*row, *shared) for row in rows]
        return draw(parts, prompts, seeds, **options)


def test_pictures_that_call_for_the_concept_draw_their_settings_from_the_space_and_others_do_not(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(drawing, "draw", recorder)
    result = run_audit(torch_components(tiny_pipeline), GLOW, ASKED, Bright(-1.0), SPREAD, subject="model")
    for prompts, seed in ((ASKED.target, 1000), (ASKED.implicit, 2_001_000)):
        drawn = [picture for picture in recorder.pictures if picture[0] in prompts]
        assert [picture[:2] for picture in drawn] == [(prompt, seed + i) for i, prompt in enumerate(prompts)]
        assert [picture[2:] for picture in drawn[:2]] == [(7.5, "", 2, None, None)] * 2
        _, _, scales, negatives, steps, heights, _ = (set(column) for column in zip(*drawn[2:], strict=True))
        assert {1.0, 15.0} < scales
        assert (negatives, {1, 3} <= steps, heights) == ({"a square", ""}, True, {32, None})
    assert {picture[2:] for picture in recorder.pictures if picture[0] in ASKED.other} == {(7.5, "", 2, None, None)}
    assert result.space == SPREAD.covered
    settings = {entry.name: entry.protocol.settings for entry in result.measurements}
    assert settings["drawn"]["space"] == settings["drawn/implicit"]["space"] == plain(SPREAD.covered)
    assert "space" not in settings["drawn/elsewhere"]


def test_a_detector_sees_the_pictures_of_every_size_and_metrics_those_of_the_models_own(
    tiny_pipeline: Pipeline,
) -> None:
    seen: list[AuditPictures] = []

    def metric(pictures: AuditPictures) -> list[Measurement]:
        seen.append(pictures)
        return []

    result = run_audit(torch_components(tiny_pipeline), GLOW, ASKED, Bright(-1.0), SPREAD, metrics=[metric])
    assert (result.drawn.count, result.drawn.value) == (6, 1.0)
    (pictures,) = seen
    assert pictures.target.shape[1:] == (64, 64, 3)
    assert 2 <= len(pictures.target) == len(pictures.prompts.target) < 6
    assert pictures.prompts.target[:2] == ASKED.target[:2]


def test_a_pictures_settings_do_not_depend_on_the_batch_size(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    settings = replace(SPREAD, space=replace(WIDE, sizes=()))
    pairs, single = (
        run_audit(components, GLOW, ASKED, Bright(0), replace(settings, batch_size=size)) for size in (4, 1)
    )
    assert int(np.abs(pairs.target_images.astype(int) - single.target_images).max()) <= 1


def test_the_protocol_says_on_what_the_subject_ran(tiny_pipeline: Pipeline) -> None:
    runs = {"precision": "fp16", "backend": "onnxruntime", "provider": "cuda"}
    result = run_audit(torch_components(tiny_pipeline), GLOW, PROMPTS, Bright(0), BRIEF, runs=runs)
    for entry in result.measurements:
        assert runs.items() <= entry.protocol.settings.items()


def test_audits_of_several_concepts_draw_equal_other_pictures_once(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, shared = Recorder(), drawing.SharedPictures()
    told: list[int] = []
    monkeypatch.setattr(drawing, "draw", recorder)
    ice = replace(GLOW, name="ice", terms=("ice",))
    cold = replace(PROMPTS, target=tuple(text.replace("glow", "ice") for text in PROMPTS.target))
    components = torch_components(tiny_pipeline)
    first = run_audit(components, GLOW, PROMPTS, Bright(0), BRIEF, shared=shared)
    second = run_audit(components, ice, cold, Bright(0), BRIEF, shared=shared, on_images=told.append)
    assert len([picture for picture in recorder.pictures if picture[0] in PROMPTS.other]) == 2
    assert np.array_equal(first.other_images, second.other_images)
    assert sum(told) == 5
    other = replace(BRIEF, seed=5)
    assert not np.array_equal(
        run_audit(components, ice, cold, Bright(0), other, shared=shared).other_images, first.other_images
    )
