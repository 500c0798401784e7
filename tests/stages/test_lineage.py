"""What the lineage says about models: names without paths, revisions and digests, and what they are good for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pruneguard.bundle import Bundle, Stage, write_bundle
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runs.progress import silent
from pruneguard.stages.auditing.control import _source
from pruneguard.stages.lineage import model_digests
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import prune_bundle
from tests.test_sources import COMMIT, hub

__all__ = ["hub"]

TABLES = {"data": {"source": "atelier", "size": 16}, "prune": {"criterion": "magnitude"}}


def bundle_from(path: Path, settings: dict[str, Any], inputs: dict[str, Any]) -> Bundle:
    with write_bundle(path) as draft:
        draft.add_stage(Stage(name="prune", settings=settings, inputs=inputs))
    return Bundle.open(path)


@pytest.mark.usefixtures("hub")
def test_a_model_from_the_hub_is_named_by_id_and_commit(tmp_path: Path) -> None:
    settings = RunSettings.resolve("owner/model", TABLES, revision="main")
    bundle = prune_bundle(settings, tmp_path / "out", silent)
    (stage,) = bundle.manifest.stages
    assert (stage.settings["model"], stage.settings["revision"]) == ("owner/model", COMMIT)
    assert set(stage.inputs["teacher"]) == {"text_encoder", "unet", "vae"}
    assert all(len(digest) == 64 for digest in stage.inputs["teacher"].values())
    assert _source(bundle, None).revision == COMMIT


def test_no_path_of_this_machine_is_in_the_manifest(tiny_folder: Path, tmp_path: Path) -> None:
    bundle = prune_bundle(RunSettings.resolve(str(tiny_folder), TABLES), tmp_path / "out", silent)
    text = (bundle.path / "bundle.json").read_text()
    assert str(tiny_folder.parent) not in text
    assert str(tmp_path) not in text
    assert bundle.manifest.stages[0].settings["model"] == "pipeline"


def test_a_local_teacher_must_be_given_again_and_be_the_same(
    tiny_folder: Path, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    inputs = {"teacher": model_digests(load_pipeline(tiny_folder))}
    bundle = bundle_from(tmp_path / "bundle", {"model": "pipeline"}, inputs)
    with pytest.raises(ConfigError, match=r"its lineage names no model that is known everywhere; give --teacher"):
        _source(bundle, None)
    assert _source(bundle, str(tiny_folder)).source == str(tiny_folder)
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    assert _source(bundle, str(moved)).source == str(moved)
    with torch.no_grad():
        next(tiny_pipeline.vae.parameters()).view(-1)[0] += 1e-3
    tiny_pipeline.save(tmp_path / "other")
    with pytest.raises(ConfigError, match="other has another vae than the teacher of this bundle; give the --teacher"):
        _source(bundle, str(tmp_path / "other"))


def test_a_teacher_draws_controls_with_the_solver_that_training_chose(tiny_folder: Path, tmp_path: Path) -> None:
    teacher = shutil.copytree(tiny_folder, tmp_path / "ddim")
    config = teacher / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "DDIMScheduler"}))
    bundle = prune_bundle(RunSettings.resolve(str(teacher), TABLES, scheduler="pndm"), tmp_path / "out", silent)
    assert type(_source(bundle, str(teacher)).scheduler).__name__ == "PNDMScheduler"


def test_a_folder_called_atelier_is_not_taken_for_the_embedded_model(tiny_folder: Path, tmp_path: Path) -> None:
    inputs = {"teacher": model_digests(load_pipeline(tiny_folder))}
    with pytest.raises(ConfigError, match="atelier has another text_encoder than the teacher of this bundle"):
        _source(bundle_from(tmp_path / "bundle", {"model": "atelier"}, inputs), None)
    embedded = {"teacher": model_digests(load_pipeline("atelier"))}
    assert _source(bundle_from(tmp_path / "own", {"model": "atelier"}, embedded), None).source == "atelier"
    # A bundle of an earlier version has no digests to compare.
    assert _source(bundle_from(tmp_path / "old", {"model": "atelier"}, {}), None).source == "atelier"
