"""The training stage on a tiny model: what it refuses before it begins, what it keeps, and what it records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pruneguard.bundle import Bundle
from pruneguard.errors import ConfigError, LineageError
from pruneguard.families import DEFAULT, family_of
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel, load_pipeline
from pruneguard.runs.digest import fingerprint, weights_digest
from pruneguard.runs.lock import run_alone
from pruneguard.runs.progress import silent
from pruneguard.settings import override
from pruneguard.stages import prune as stage
from pruneguard.stages.data import build_data
from pruneguard.stages.prune import prune, prune_in
from pruneguard.stages.settings import PruneSettings, RunSettings
from pruneguard.stages.train import prune_bundle, run_folder, train_bundle
from pruneguard.training import LatentSet
from pruneguard.training.objective import lower_terms
from pruneguard.training.settings import LossSettings
from tests.erasure.text_eraser import text_eraser

TABLES = {
    "data": {"source": "atelier", "size": 16},
    "prune": {"batches": 1},
    "training": {
        "steps": 2,
        "schedule": {"every": 1},
        "batch_size": 2,
        "tracker": "none",
        "lower": {"warmup": 0},
        "upper": {"warmup": 0},
        "erasure": {"batch_size": 2, "images": 2, "steps": 2},
    },
}
CONCEPT = 'name = "glow"\nprompts = ["a disc in glow style"]\nanchors = "a disc in flat style"\nterms = ["glow"]\n'

Resolve = Callable[..., RunSettings]


@pytest.fixture
def resolve(tiny_folder: Path) -> Resolve:
    def settings(**given: Any) -> RunSettings:
        return RunSettings.resolve(str(tiny_folder), TABLES, **given)

    return settings


@pytest.fixture
def concept(tmp_path: Path) -> str:
    (tmp_path / "glow.toml").write_text(CONCEPT)
    return str(tmp_path / "glow.toml")


@pytest.fixture
def data(tiny_pipeline: Pipeline) -> LatentSet:
    return from_atelier(tiny_pipeline, 16)


def forbidden(*_: Any) -> Any:
    raise AssertionError("this must not run")


# --- before anything is computed ---


def test_a_concept_that_the_detector_cannot_tell_is_refused_at_once(
    resolve: Resolve, concept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruneguard.stages.train.load_teacher", forbidden)
    with pytest.raises(ConfigError, match="concept 'glow' has no \\[detect\\] attribute and value"):
        train_bundle(resolve(concepts=(concept,), detector="oracle"), tmp_path / "out", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glow.toml"]


def test_settings_that_cannot_work_are_refused_at_once(
    tiny_folder: Path, concept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruneguard.stages.train.load_teacher", forbidden)
    tables = {**TABLES, "training": {"steps": 2, "schedule": {"every": 3}}}
    with pytest.raises(ConfigError, match="no upper step would run"):
        train_bundle(RunSettings.resolve(str(tiny_folder), tables, concepts=(concept,)), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_latents_beyond_the_limit_are_mapped(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    tables = {"data": {"source": "atelier", "size": 300, "cache_mib": 1}}
    settings = RunSettings.resolve("atelier", tables)
    assert settings.to_dict()["data"]["cache_mib"] == 1
    stored = build_data(tiny_pipeline, settings, tmp_path, silent)
    assert {shard.dtype for shard in stored.images.shards} == {torch.float16}


# --- the plan ---


def test_a_plan_is_searched_once(
    tiny_pipeline: Pipeline, data: LatentSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PruneSettings(batches=1)

    def again(changed: PruneSettings = settings, **given: Any) -> PrunedUNet2DConditionModel:
        return prune_in(tmp_path, tiny_pipeline, data, changed, on_progress=silent, **given)

    first = again()
    assert first.plan == prune(tiny_pipeline, data, settings, on_progress=silent).plan
    (kept,) = tmp_path.iterdir()
    assert json.loads((kept / "plan.json").read_text())["made_from"]["settings"]["budget"] == 0.58
    monkeypatch.setattr(stage, "_search", forbidden)
    second = again()
    assert second.plan == first.plan
    assert fingerprint(second) == fingerprint(first)
    for changes in ({"changed": PruneSettings(batches=1, budget=0.7)}, {"seed": 1}):
        with pytest.raises(AssertionError, match="must not run"):
            again(**changes)
    with torch.no_grad():
        tiny_pipeline.unet.conv_in.weight[0, 0, 0, 0] += 1
    with pytest.raises(AssertionError, match="must not run"):
        again()


def test_a_plan_that_cannot_be_read_is_named(tiny_pipeline: Pipeline, data: LatentSet, tmp_path: Path) -> None:
    settings = PruneSettings(batches=1)
    prune_in(tmp_path, tiny_pipeline, data, settings, on_progress=silent)
    (path,) = tmp_path.glob("*/plan.json")
    for content in ("{", "[]", '{"plan": {"heads": {"x": "all"}}}'):
        path.write_text(content)
        with pytest.raises(ConfigError, match=rf"pruning plan {path} cannot be read .*delete its folder"):
            prune_in(tmp_path, tiny_pipeline, data, settings, on_progress=silent)


def test_a_run_goes_on_with_the_plan_that_it_began_with(
    resolve: Resolve, concept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "out", resolve(concepts=(concept,))
    train_bundle(settings, out, silent)
    before = Bundle.open(out).manifest.files
    shutil.rmtree(out)
    monkeypatch.setattr(stage, "_search", forbidden)
    train_bundle(settings, out, silent)
    assert Bundle.open(out).manifest.files == before


def test_a_second_run_in_the_same_folder_waits(resolve: Resolve, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for stage_of in (train_bundle, prune_bundle):
        with (
            run_alone(run_folder(out)),
            pytest.raises(
                ConfigError, match=r"another run is going on in .*/runs/out; wait for it, or give another --out"
            ),
        ):
            stage_of(resolve(), out, silent)


def test_a_run_that_is_forgotten_begins_anew(resolve: Resolve, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", run_folder(tmp_path / "out")
    train_bundle(resolve(), out, silent)
    (folder / "checkpoints" / "step-00000002" / "state.json").write_text("{")
    train_bundle(resolve(), out, silent, fresh=True)
    assert json.loads((folder / "checkpoints" / "step-00000002" / "state.json").read_text())["number"] == 2


# --- what a run trains ---


def test_the_bundle_has_the_text_encoder_that_the_erasure_trained(
    resolve: Resolve, concept: str, tmp_path: Path, tiny_folder: Path
) -> None:
    file = "text_encoder/model.safetensors"
    with text_eraser():
        settings = resolve(concepts=(concept,))
        settings = override(settings, {"training": {"erasure": {"eraser": "text"}, "upper": {"lr": 1e-3}}})
        bundle, result, _ = train_bundle(settings, tmp_path / "out", silent)
    written, before = load_file(bundle.path / "model" / file), load_file(tiny_folder / file)
    trained = load_file(result.result.checkpoint / "weights.safetensors")
    assert all(torch.equal(tensor, trained[f"text_encoder.{name}"]) for name, tensor in written.items())
    changed = {name for name in before if not torch.equal(before[name], written[name])}
    assert changed
    assert all(".mlp." in name for name in changed)


def test_the_search_scores_under_the_runs_own_min_snr_weights(
    tiny_pipeline: Pipeline, data: LatentSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[LossSettings] = []

    def note(*given: Any) -> dict[str, torch.Tensor]:
        seen.append(given[-1])
        return lower_terms(*given)

    monkeypatch.setattr(stage, "lower_terms", note)
    settings, losses = PruneSettings(batches=1), LossSettings(min_snr_gamma=2.0, min_snr_form="diffusers")
    prune_in(tmp_path, tiny_pipeline, data, settings, losses=losses, on_progress=silent)
    assert seen == [LossSettings(ddpm=1, output_kd=0, feature_kd=0, min_snr_gamma=2.0, min_snr_form="diffusers")]
    # The plan is kept under these weights: other ones search again, other distillation does not.
    prune_in(tmp_path, tiny_pipeline, data, settings, on_progress=silent)
    assert len(seen) == 2
    prune_in(tmp_path, tiny_pipeline, data, settings, losses=LossSettings(output_kd=9.0), on_progress=silent)
    assert len(seen) == 2


# --- lineage ---


def test_the_lineage_of_a_run_that_prunes(resolve: Resolve, tmp_path: Path, tiny_folder: Path) -> None:
    bundle, _, _ = train_bundle(resolve(), tmp_path / "out", silent)
    first, second = bundle.manifest.stages
    assert (first.name, first.settings["criterion"], first.settings["budget"]) == ("prune", "taylor", 0.58)
    pipeline = load_pipeline(tiny_folder)
    teacher = {name: weights_digest(getattr(pipeline, name)) for name in ("text_encoder", "unet", "vae")}
    assert first.inputs == {"teacher": teacher}
    assert second.inputs["teacher"] == teacher


def test_the_lineage_names_the_bundles_that_a_run_began_with(resolve: Resolve, tmp_path: Path) -> None:
    pruned = prune_bundle(resolve(), tmp_path / "pruned", silent)
    settings = RunSettings.resolve(str(pruned.path), TABLES, student=str(pruned.path))
    bundle, _, _ = train_bundle(settings, tmp_path / "out", silent)
    inputs = bundle.manifest.stages[0].inputs
    assert inputs["teacher_bundle"] == inputs["student_bundle"] == pruned.digest


def test_the_lineage_of_a_student_tells_what_it_is_and_no_search(resolve: Resolve, tmp_path: Path) -> None:
    pruned = prune_bundle(resolve(), tmp_path / "pruned", silent)
    folder = tmp_path / "folder"
    shutil.copytree(pruned.path / "model", folder)
    student = weights_digest(load_pipeline(folder).unet)
    for source in (pruned.path, folder):
        out = tmp_path / f"from-{source.name}"
        bundle, _, _ = train_bundle(resolve(student=str(source)), out, silent)
        first, second = bundle.manifest.stages
        assert (first.name, second.name) == ("student", "train")
        assert first.settings == {"model": "pipeline", "student": source.name}
        expected = {"teacher": second.inputs["teacher"], "student": {"unet": student}}
        assert first.inputs == expected | ({"student_bundle": pruned.digest} if source == pruned.path else {})
        assert family_of(out).name == DEFAULT
        assert bundle.manifest.macs == pruned.manifest.macs
        assert not list(run_folder(out).glob("plan-*"))


def test_a_student_whose_bundle_changed_is_refused(resolve: Resolve, tmp_path: Path) -> None:
    pruned = prune_bundle(resolve(), tmp_path / "pruned", silent)
    (pruned.path / "model" / "model_index.json").write_text("{}")
    with pytest.raises(LineageError, match=r"changed: model/model_index\.json"):
        train_bundle(resolve(student=str(pruned.path)), tmp_path / "out", silent)
