"""A teacher's safety checker: said when it is left out, and kept by option."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig

from pruneguard.cli.options import safety_note
from pruneguard.errors import LineageError, ModelError
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import silent
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import prune_bundle

TABLES = {"data": {"source": "atelier", "size": 16}, "prune": {"criterion": "magnitude"}}


@pytest.fixture(scope="module")
def checked(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a tiny safety checker, for reading only."""
    folder = tmp_path_factory.mktemp("checked") / "pipeline"
    shutil.copytree(tiny_folder, folder)
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = CLIPConfig(vision_config={**tower, "image_size": 16, "patch_size": 8}, text_config=tower, projection_dim=4)
    StableDiffusionSafetyChecker(config).save_pretrained(folder / "safety_checker")
    name = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    size = {"height": 16, "width": 16}
    getattr(transformers, name)(size={"shortest_edge": 16}, crop_size=size).save_pretrained(
        folder / "feature_extractor"
    )
    settings = json.loads((folder / "safety_checker/config.json").read_text())
    (folder / "safety_checker/config.json").write_text(json.dumps({**settings, "_name_or_path": "/opt/someone/clip"}))
    (folder / "safety_checker/pytorch_model.bin").write_bytes(b"pickled")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", name],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_a_safety_checker_that_is_left_out_is_said(checked: Path, tiny_folder: Path, tmp_path: Path) -> None:
    assert load_pipeline(checked).safety_checker
    bundle = prune_bundle(RunSettings.resolve(str(checked), TABLES), tmp_path / "out", silent)
    assert bundle.manifest.stages[0].settings["safety_checker"] == "left out"
    assert not (bundle.path / "model/safety_checker").exists()
    assert "left out; --keep-safety-checker copies it" in str(safety_note(bundle.manifest))
    assert not load_pipeline(tiny_folder).safety_checker
    plain = prune_bundle(RunSettings.resolve(str(tiny_folder), TABLES), tmp_path / "plain", silent)
    assert "safety_checker" not in plain.manifest.stages[0].settings
    assert safety_note(plain.manifest) is None


def test_a_safety_checker_that_is_kept_is_loaded_by_diffusers(checked: Path, tmp_path: Path) -> None:
    settings = RunSettings.resolve(str(checked), TABLES, keep_safety_checker=True)
    bundle = prune_bundle(settings, tmp_path / "out", silent)
    assert bundle.manifest.stages[0].settings["safety_checker"] == "kept"
    assert "the runtime does not use it" in str(safety_note(bundle.manifest))
    kept = bundle.path / "model/safety_checker"
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "model.safetensors"]
    assert "someone" not in (kept / "config.json").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import StableDiffusionPipeline

        loaded = StableDiffusionPipeline.from_pretrained(bundle.path / "model")
    assert isinstance(loaded.safety_checker, StableDiffusionSafetyChecker)
    source = StableDiffusionSafetyChecker.from_pretrained(checked / "safety_checker")
    assert torch.equal(loaded.safety_checker.concept_embeds, source.concept_embeds)
    assert loaded.feature_extractor is not None and loaded.config.requires_safety_checker

    again = RunSettings.resolve(str(bundle.path), {**TABLES, "prune": {"criterion": "magnitude", "budget": 1.0}})
    assert load_pipeline(bundle.path).safety_checker
    assert again.keep_safety_checker is False


def test_a_kept_safety_checker_of_a_bundle_is_verified(checked: Path, tmp_path: Path) -> None:
    settings = RunSettings.resolve(str(checked), TABLES, keep_safety_checker=True)
    bundle = prune_bundle(settings, tmp_path / "out", silent)
    (bundle.path / "model/safety_checker/config.json").write_text("{}")
    with pytest.raises(LineageError, match=r"changed: model/safety_checker/config\.json"):
        prune_bundle(RunSettings.resolve(str(bundle.path), TABLES), tmp_path / "second", silent)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("safety_checker", "has no safety checker; leave out --keep-safety-checker"),
        ("safety_checker/model.safetensors", "only pickled weights"),
        ("feature_extractor", "feature_extractor: missing; the safety checker needs it"),
    ],
)
def test_a_safety_checker_that_is_not_whole_is_not_kept(
    damage: str, message: str, checked: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(checked, tmp_path / "model")
    if (folder / damage).is_dir():
        shutil.rmtree(folder / damage)
    else:
        (folder / damage).unlink()
    settings = RunSettings.resolve(str(folder), TABLES, keep_safety_checker=True)
    with pytest.raises(ModelError, match=message):
        prune_bundle(settings, tmp_path / "out", silent)
    assert not (tmp_path / "out/bundle.json").exists()
