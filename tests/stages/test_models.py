"""The model of a bundle is loaded from the bytes that were verified."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import write_bundle
from pruneguard.errors import BundleError, LineageError, ModelError
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runs.digest import fingerprint
from pruneguard.stages.models import load_student, load_teacher

WEIGHTS = "model/unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, tmp_path: Path) -> Path:
    with write_bundle(tmp_path / "bundle") as draft:
        tiny_pipeline.save(draft.folder / "model")
    return tmp_path / "bundle"


def test_weights_that_are_cut_short_while_they_load_change_nothing(
    bundle: Path, tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_then_load(source: Any) -> Pipeline:
        os.truncate(bundle / WEIGHTS, 0)
        return load_pipeline(source)

    monkeypatch.setattr("pruneguard.stages.models.load_pipeline", cut_then_load)
    teacher = load_teacher(bundle)
    assert fingerprint(teacher.unet) == fingerprint(tiny_pipeline.unet)
    assert teacher.source == str(bundle)
    with pytest.raises(LineageError, match=f"changed: {WEIGHTS}"):
        load_student(str(bundle), teacher)


def test_errors_name_the_bundle_and_not_its_copy(bundle: Path) -> None:
    with write_bundle(bundle, base=bundle) as draft:
        (draft.folder / WEIGHTS).write_bytes(b"not safetensors")
    with pytest.raises(ModelError) as caught:
        load_teacher(bundle)
    assert str(caught.value).startswith(f"{bundle / WEIGHTS}: truncated, or not a safetensors file")
    with write_bundle(bundle / "empty"):
        pass
    with pytest.raises(BundleError, match=r"holds no model/; make it with `pruneguard train"):
        load_teacher(bundle / "empty")
