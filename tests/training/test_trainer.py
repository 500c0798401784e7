from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, ModelError, TrainingError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.settings import Choice
from pruneguard.training import Advance, LatentSet, TrainResult, TrainSettings, losses, train
from pruneguard.training.trainer import check_run, without_concepts
from tests.models import build_tiny_pipeline

GLOW = Concept(
    name="glow",
    prompts=("a red disc in glow style", "a blue ring in glow style"),
    anchors=("a red disc in flat style", "a blue ring in flat style"),
    terms=("glow",),
)
SETTINGS = TrainSettings.from_dict(
    {
        "steps": 10,
        "batch_size": 4,
        "schedule": {"every": 3},
        "tracker": "none",
        "checkpoint_every": 4,
        "lower": {"lr": 1e-3, "warmup": 2},
        "upper": {"lr": 1e-3, "warmup": 1},
        "erasure": {"batch_size": 2, "images": 2, "steps": 2, "source": {"kind": "mixed"}},
    }
)

Runner = Callable[..., TrainResult]

# The losses of SETTINGS on the tiny model by prediction type, lower and upper. A change that should not alter the
# mathematics must leave them as they are.
CURVES = {
    "v_prediction": (
        [0.41469, 0.39649, 0.43843, 0.34644, 0.30837, 0.34222, 0.38300, 0.46930, 0.21835, 0.38811],
        [0.05201, 0.05426, 0.05700],
    ),
    "epsilon": (
        [1.05138, 0.97451, 1.05124, 0.79666, 0.85791, 0.83699, 0.89850, 0.88446, 0.90683, 0.80161],
        [0.07135, 0.07979, 0.11003],
    ),
}


@pytest.fixture(params=["v_prediction"])
def tiny_pipeline(request: pytest.FixtureRequest) -> Pipeline:
    """The tiny model; a test that asks for "epsilon" gets its twin with the same weights."""
    return build_tiny_pipeline(request.param)


@pytest.fixture
def data(tiny_pipeline: Pipeline) -> LatentSet:
    return from_atelier(tiny_pipeline, 12, seed=0)


@pytest.fixture
def run(tiny_pipeline: Pipeline, data: LatentSet, tmp_path: Path) -> Runner:
    def start(folder: str = "run", settings: TrainSettings = SETTINGS, **changes: Any) -> TrainResult:
        student = changes.pop("student", None) or copy.deepcopy(tiny_pipeline.unet)
        values: dict[str, Any] = {"data": data, "concepts": [GLOW], **changes}
        return train(tiny_pipeline, student, settings=settings, run_folder=tmp_path / folder, **values)

    return start


def same(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def stop_after(step: int) -> Callable[[Advance], None]:
    """A callback that presses Ctrl-C during the progress report of a step."""

    def press(advance: Advance) -> None:
        if advance.phase == "train" and advance.done == step:
            signal.raise_signal(signal.SIGINT)

    return press


@pytest.mark.parametrize("tiny_pipeline", list(CURVES), indirect=True)
def test_golden_curve(run: Runner, tiny_pipeline: Pipeline) -> None:
    expected_lower, expected_upper = CURVES[tiny_pipeline.prediction_type]
    seen: list[Advance] = []
    first = run("first", on_progress=seen.append)
    lower = [advance.measured["lower/loss"] for advance in seen if advance.phase == "train"]
    upper = [advance.measured["upper/loss"] for advance in seen if "upper/loss" in advance.measured]
    assert lower == pytest.approx(expected_lower, rel=2e-3)
    assert upper == pytest.approx(expected_upper, rel=2e-2)
    assert (first.metrics["steps"], first.metrics["upper_steps"]) == (10, 3)
    assert not first.unet.training
    assert same(first.unet, run("second").unet)
    assert not same(first.unet, run("third", replace(SETTINGS, seed=1)).unet)
    assert not same(first.unet, tiny_pipeline.unet)


def test_each_concept_has_as_many_upper_steps_as_one_alone(run: Runner) -> None:
    ice = replace(GLOW, name="ice", prompts=("a red disc in ice style",), anchors=("a red disc",), terms=("ice",))
    seen: list[Advance] = []
    result = run(concepts=[GLOW, ice], on_progress=seen.append)
    assert (result.metrics["steps"], result.metrics["upper_steps"]) == (10, 6)
    assert {advance.phase for advance in seen} == {"draw glow", "draw ice", "train"}


@pytest.mark.parametrize(
    ("tiny_pipeline", "stops"), [("v_prediction", (1, 6, 10)), ("epsilon", (4,))], indirect=["tiny_pipeline"]
)
def test_a_stopped_run_goes_on_to_equal_weights(run: Runner, tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole = run("whole")
    for stop in stops:
        folder = f"stopped-{stop}"
        with pytest.raises(KeyboardInterrupt, match=rf"stopped after step {stop} of 10, which is saved"):
            run(folder, on_progress=stop_after(stop))
        assert (tmp_path / folder / "checkpoints" / f"step-{stop:08d}").is_dir()
        resumed: list[Advance] = []
        result = run(folder, on_progress=resumed.append)
        assert [advance.done for advance in resumed] == list(range(stop + 1, 11))
        assert same(result.unet, whole.unet)


def test_a_finished_run_is_returned_as_it_is(run: Runner) -> None:
    first = run()
    seen: list[Advance] = []
    again = run(on_progress=seen.append)
    assert not seen
    assert same(first.unet, again.unet)
    assert again.checkpoint == first.checkpoint
    assert again.metrics["lower/loss"] == first.metrics["lower/loss"]


def test_other_settings_on_an_old_run_are_refused(run: Runner) -> None:
    run(settings=replace(SETTINGS, steps=3))
    with pytest.raises(
        ConfigError, match=r"settings\.lower\.lr = 0\.001, not 0\.002: set it back .* another run folder"
    ):
        run(settings=replace(SETTINGS, steps=3, lower=replace(SETTINGS.lower, lr=0.002)))
    with pytest.raises(ConfigError, match=r"concepts\.glow\.anchors = \['a red .*, not None"):
        run(settings=replace(SETTINGS, steps=3), concepts=[])
    # How often to save is no part of what the weights become.
    assert run(settings=replace(SETTINGS, steps=3, checkpoint_every=1)).metrics["steps"] == 3


def test_a_run_that_saved_nothing_yet_may_begin_with_other_settings(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "pruneguard.training.objective.ddpm_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True)
        )
        with pytest.raises(TrainingError, match="no checkpoint was made yet"):
            run()
    slower = replace(SETTINGS, lower=replace(SETTINGS.lower, lr=5e-4))
    assert run(settings=slower).metrics["steps"] == SETTINGS.steps
    record = json.loads((tmp_path / "run" / "record" / "run.json").read_text())
    assert record["settings"]["lower"]["lr"] == 5e-4


def test_checkpoints_hold_no_pickle_and_the_last_ones_stay(run: Runner, tmp_path: Path) -> None:
    result = run(settings=replace(SETTINGS, checkpoint_every=2))
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000008", "step-00000010"]
    assert result.checkpoint.name == "step-00000010"
    assert {path.suffix for path in result.checkpoint.iterdir()} == {".safetensors", ".json"}


def test_a_checkpoint_whose_removal_was_cut_short_is_not_taken_for_one(run: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    hidden = folder / ".retired-step-00000002"
    for half in (hidden, folder / "step-00000008"):  # the second had no time to be hidden
        half.mkdir(parents=True)
        (half / "state.json").write_text("{}")
    seen: list[Advance] = []
    result = run(settings=replace(SETTINGS, checkpoint_every=2), on_progress=seen.append)
    assert [advance.done for advance in seen if advance.phase == "train"] == list(range(1, 11))
    assert not hidden.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000008", "step-00000010"]
    assert result.checkpoint.name == "step-00000010"


def test_only_the_upper_set_changes_at_the_upper_level(run: Runner, tiny_pipeline: Pipeline) -> None:
    frozen = replace(SETTINGS.lower, lr=1e-30)
    result = run(settings=replace(SETTINGS, lower=frozen))
    changed = {
        name
        for name, parameter in result.unet.named_parameters()
        if not torch.allclose(parameter, tiny_pipeline.unet.get_parameter(name), rtol=0, atol=1e-6)
    }
    assert changed
    assert all("attn2" in name for name in changed)


def test_rows_that_name_or_show_a_concept_stay_out(run: Runner, tiny_pipeline: Pipeline) -> None:
    data = from_atelier(tiny_pipeline, 96, seed=3)
    named = ["glow" in data.caption(row) for row in range(len(data))]
    shown = ["glow" in data.shown[int(data.image_of[row])] for row in range(len(data))]
    assert 0 < sum(named) < sum(shown)  # some captions leave the style unsaid
    assert run(data=data, settings=replace(SETTINGS, steps=3)).metrics["rows_left_out"] == sum(shown)
    kept = without_concepts(data, [GLOW])
    assert len(kept) == len(data) - sum(shown)
    assert not any("glow" in data.shown[number] for number in kept.image_of.tolist())
    everything = replace(GLOW, terms=("a",))
    with pytest.raises(ConfigError, match="nothing is left to learn"):
        run("other", concepts=[everything])


def test_without_concepts_it_distils(run: Runner, tiny_pipeline: Pipeline, data: LatentSet) -> None:
    student = copy.deepcopy(tiny_pipeline.unet)
    with torch.no_grad():
        student.conv_out.weight.mul_(0.5)
    seen: list[Advance] = []
    settings = replace(SETTINGS, steps=30, losses=replace(SETTINGS.losses, ddpm=0.0))
    result = run(student=student, concepts=[], on_progress=seen.append, settings=settings)
    assert "lower/ddpm" not in result.metrics
    measured = [advance.measured["lower/output_kd"] for advance in seen]
    assert sum(measured[-5:]) < 0.7 * sum(measured[:5])
    assert (result.metrics["upper_steps"], result.metrics["rows_left_out"]) == (0, 0)


def test_accumulation_changes_nothing_but_rounding(run: Runner) -> None:
    settings = replace(SETTINGS, steps=3)
    whole = run("whole", settings).unet
    parts = run("parts", replace(settings, accumulation=2)).unet
    for ours, theirs in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-4)


def test_upper_level_lowers_its_loss(run: Runner) -> None:
    seen: list[Advance] = []
    settings = replace(
        SETTINGS, steps=24, schedule=Choice("alternating", {"every": 1}), lower=replace(SETTINGS.lower, lr=1e-30)
    )
    run(settings=replace(settings, upper=replace(SETTINGS.upper, lr=3e-3)), on_progress=seen.append)
    measured = [advance.measured["upper/loss"] for advance in seen if advance.phase == "train"]
    assert sum(measured[-6:]) < 0.8 * sum(measured[:6])


@pytest.mark.parametrize("factor", [float("nan"), 1e9])
def test_a_run_gone_wrong_names_its_last_good_checkpoint(
    run: Runner, tmp_path: Path, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    honest = losses.ddpm_loss

    def poisoned(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        return honest(predicted, target, weights) * (factor if calls == 14 else 1.0)

    monkeypatch.setattr("pruneguard.training.objective.ddpm_loss", poisoned)
    with pytest.raises(TrainingError, match=r"lower level's loss .*last good checkpoint is .*step-00000012"):
        run(settings=replace(SETTINGS, steps=20, checkpoint_every=12))
    monkeypatch.setattr("pruneguard.training.objective.ddpm_loss", honest)
    assert run(settings=replace(SETTINGS, steps=20, checkpoint_every=12)).metrics["steps"] == 20


def test_a_full_disk_keeps_the_earlier_checkpoint(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("whole")
    honest = save_file

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        if "step-00000008" in str(path):
            raise OSError(28, "No space left on device")
        honest(tensors, path)

    monkeypatch.setattr("pruneguard.runs.checkpoint.save_file", full)
    with pytest.raises(TrainingError, match=r"last good checkpoint is .*step-00000004\) .*No space left on device"):
        run("full")
    assert [path.name for path in (tmp_path / "full" / "checkpoints").iterdir()] == ["step-00000004"]
    monkeypatch.setattr("pruneguard.runs.checkpoint.save_file", honest)
    assert same(run("full").unet, whole.unet)


def test_a_damaged_checkpoint_is_named(run: Runner, tmp_path: Path) -> None:
    last = run(settings=replace(SETTINGS, steps=5)).checkpoint
    weights = last / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(TrainingError, match=rf"checkpoint {last} cannot be read .*delete that folder"):
        run(settings=replace(SETTINGS, steps=5))


def test_a_run_folder_that_cannot_be_written(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"run record .* cannot be written"):
        run()


def test_the_record_tells_what_a_run_was_made_from(run: Runner, tmp_path: Path, data: LatentSet) -> None:
    run(settings=replace(SETTINGS, steps=3))
    record = json.loads((tmp_path / "run" / "record" / "run.json").read_text())
    assert record["settings"]["lower"]["lr"] == 1e-3
    assert record["data"] == data.digest


def test_settings_that_cannot_work(run: Runner, tiny_pipeline: Pipeline) -> None:
    with pytest.raises(ConfigError, match="no upper step would run"):
        run(settings=replace(SETTINGS, steps=2))
    with pytest.raises(ConfigError, match=r"`erasure\.batch_size` 2 does not divide among 4 processes"):
        check_run(SETTINGS, [GLOW], 4)
    tiny_pipeline.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(ModelError, match="choose a model that predicts epsilon or v"):
        run("third")
