"""The safety checker that a teacher came with: copied beside the pruned model, for diffusers to load with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pruneguard.errors import ModelError
from pruneguard.models import Pipeline, has_safety_checker
from pruneguard.sources import HUB_FILES, SAFETY_FILES
from pruneguard.stages.models import model_folder
from pruneguard.weights import check_files, check_weights, read_json

FOLDERS = ("safety_checker", "feature_extractor")
_ENDINGS = (".json", ".safetensors")


def safety_record(teacher: Pipeline, *, keep: bool) -> dict[str, str]:
    """What the lineage says about the teacher's safety checker; empty if it has none.

    Raises ModelError if there is none to keep.
    """
    if keep and not teacher.safety_checker:
        raise ModelError(f"{teacher.source}: has no safety checker; leave out --keep-safety-checker")
    return {"safety_checker": "kept" if keep else "left out"} if teacher.safety_checker else {}


def copy_safety_checker(source: str, revision: str | None, model: Path) -> None:
    """Copies the safety checker of `source` and its feature extractor into the diffusers folder `model`.

    Copies configurations and safetensors only, and names both in model_index.json. Raises ModelError for a safety
    checker that is not whole, and LineageError for a bundle that changed.
    """
    with model_folder(source, revision, (*HUB_FILES, *SAFETY_FILES)) as folder:
        if not has_safety_checker(folder):
            raise ModelError(f"{source}: has no safety checker; leave out --keep-safety-checker")
        for name in FOLDERS:
            if not (folder / name).is_dir():
                raise ModelError(f"{folder / name}: missing; the safety checker needs it: download the model again")
            check_files(folder / name)
        check_weights(folder / "safety_checker", "model")
        for name in FOLDERS:
            _copy(folder / name, model / name)
        index, own = read_json(folder / "model_index.json"), read_json(model / "model_index.json")
    named = {name: index[name] for name in FOLDERS}
    _write(model / "model_index.json", {**own, **named, "requires_safety_checker": True})


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.suffix not in _ENDINGS or not path.is_file():
            continue
        if path.name == "config.json":  # it may hold a path of the machine that wrote it
            _write(target / path.name, {key: value for key, value in read_json(path).items() if key != "_name_or_path"})
        else:
            shutil.copyfile(path, target / path.name)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
