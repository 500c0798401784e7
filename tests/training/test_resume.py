"""A run that was stopped after any event goes on to the weights of one that was not, bit for bit."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.erasure import ERASERS
from pruneguard.errors import ConfigError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.training import Advance, TrainResult, TrainSettings, train
from pruneguard.training.trainer import check_run
from tests.erasure.text_eraser import text_eraser

GLOW = Concept(
    name="glow",
    prompts=("a red disc in glow style", "a blue ring in glow style"),
    anchors=("a red disc in flat style", "a blue ring in flat style"),
    terms=("glow",),
)
SETTINGS = TrainSettings.from_dict(
    {
        "steps": 4,
        "batch_size": 2,
        "tracker": "none",
        "max_grad_norm": 1.0,
        "lower": {"lr": 1e-3, "warmup": 2, "decay": "cosine"},
        "upper": {"lr": 1e-3, "warmup": 1},
        "erasure": {"batch_size": 2, "images": 2, "steps": 2, "source": {"kind": "noised"}},
    }
)

Runner = Callable[..., TrainResult]


@pytest.fixture
def data(tiny_pipeline: Pipeline) -> LatentSet:
    return from_atelier(tiny_pipeline, 8, seed=0)


@pytest.fixture
def run(tiny_pipeline: Pipeline, data: LatentSet, tmp_path: Path) -> Runner:
    def start(folder: str, changes: dict[str, Any], *, stop: int = 0, seen: list[Advance] | None = None) -> TrainResult:
        def note(advance: Advance) -> None:
            if advance.phase == "train" and advance.done == stop:
                signal.raise_signal(signal.SIGINT)
            if seen is not None and advance.phase == "train":
                seen.append(advance)

        settings = TrainSettings.from_dict(changes, base=SETTINGS)
        student = copy.deepcopy(tiny_pipeline.unet)
        return train(tiny_pipeline, student, data, [GLOW], settings, tmp_path / folder, on_progress=note)

    return start


@pytest.fixture
def with_text_eraser() -> Iterator[None]:
    with text_eraser():
        yield


def state(result: TrainResult) -> dict[str, torch.Tensor]:
    pipeline = result.pipeline
    models = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {f"{name}.{key}": value for name, model in models.items() for key, value in model.state_dict().items()}


def assert_same(first: TrainResult, second: TrainResult) -> None:
    ours, theirs = state(first), state(second)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("schedule", "events", "stops"),
    [
        ({"name": "alternating", "every": 2}, 4, (2,)),
        ({"name": "two-stage", "upper_steps": 2}, 6, (3, 5)),
        ({"name": "erase-first", "upper_steps": 3}, 7, (2, 4)),
        ({"name": "penalty", "weight": 10.0}, 4, (2,)),
        ({"name": "penalty", "copy": True, "inner": 2}, 4, (3,)),
    ],
)
def test_every_schedule_goes_on_from_any_event(
    run: Runner, schedule: dict[str, Any], events: int, stops: tuple[int, ...]
) -> None:
    whole = run("whole", {"schedule": schedule})
    for stop in stops:
        folder, seen = f"stopped-{stop}", list[Advance]()
        with pytest.raises(KeyboardInterrupt, match=rf"stopped after step {stop} of {events}, which is saved"):
            run(folder, {"schedule": schedule}, stop=stop)
        resumed = run(folder, {"schedule": schedule}, seen=seen)
        assert [(advance.done, advance.total) for advance in seen] == [(n, events) for n in range(stop + 1, events + 1)]
        assert_same(resumed, whole)
        numbers = ("steps", "upper_steps", "lower/loss", "upper/loss")
        assert [resumed.metrics[name] for name in numbers] == [whole.metrics[name] for name in numbers]


def test_another_schedule_on_an_old_run_is_refused(run: Runner) -> None:
    run("run", {"schedule": {"name": "penalty"}, "steps": 1})
    with pytest.raises(ConfigError, match=r"settings\.schedule\.copy = False, not True"):
        run("run", {"schedule": {"name": "penalty", "copy": True}, "steps": 1})
    # An option that is given as it is by default asks for the same run.
    assert run("run", {"schedule": {"name": "penalty", "inner": 20}, "steps": 1}).metrics["steps"] == 1


@pytest.mark.usefixtures("with_text_eraser")
def test_an_erasure_may_train_the_text_encoder(run: Runner, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    changes = {"erasure": {"eraser": "text"}, "schedule": {"every": 1}}
    before = copy.deepcopy(tiny_pipeline.text_encoder.state_dict())
    seen: list[Advance] = []
    whole = run("whole", changes, seen=seen)
    losses = [advance.measured["upper/loss"] for advance in seen]
    assert losses[-1] < losses[0]
    after = whole.pipeline.text_encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".mlp." in name and name.endswith("weight")}  # biases are masked
    assert all(torch.equal(before[name], value) for name, value in tiny_pipeline.text_encoder.state_dict().items())
    assert not whole.pipeline.text_encoder.training
    assert not (tmp_path / "whole" / "cache").exists()  # the teacher drew nothing
    with pytest.raises(KeyboardInterrupt):
        run("stopped", changes, stop=2)
    saved = load_file(tmp_path / "stopped" / "checkpoints" / "step-00000002" / "states.safetensors")
    assert saved["erasure.losses"].tolist() == pytest.approx(losses[:2])
    resumed = run("stopped", changes)
    assert_same(resumed, whole)
    saved = load_file(resumed.checkpoint / "states.safetensors")
    assert saved["erasure.losses"].tolist() == pytest.approx(losses)


@pytest.mark.usefixtures("with_text_eraser")
def test_a_joint_step_moves_unet_and_text_encoder(run: Runner, tiny_pipeline: Pipeline) -> None:
    result = run("run", {"erasure": {"eraser": "text"}, "schedule": {"name": "penalty", "weight": 1.0}, "steps": 2})
    trained = result.pipeline
    for before, after in ((tiny_pipeline.unet, trained.unet), (tiny_pipeline.text_encoder, trained.text_encoder)):
        ours, theirs = before.state_dict(), after.state_dict()
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_edit_has_no_place_in_a_joint_step() -> None:
    class Edit:
        edits = True

    ERASERS.register("edit")(Edit)  # type: ignore[arg-type]
    try:
        settings = TrainSettings.from_dict(
            {"erasure": {"eraser": "edit"}, "schedule": {"name": "penalty"}}, base=SETTINGS
        )
        with pytest.raises(
            ConfigError,
            match=r"schedule 'penalty' needs a gradient, and eraser 'edit' edits the weights without one: choose the "
            r"schedule from alternating, .*erase-first, .*two-stage",
        ):
            check_run(settings, [GLOW], 1)
        check_run(settings, [], 1)
    finally:
        ERASERS.remove("edit")
