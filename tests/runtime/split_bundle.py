"""A tiny bundle whose engines keep their weights in a second file, `model.onnx.data`."""

from __future__ import annotations

from pathlib import Path

import onnx

from pruneguard.bundle import BundleDraft, write_bundle
from tests.runtime.tiny_bundle import PLACE, add_audit, fill_draft

COMPONENTS = ("text_encoder", "unet", "vae_decoder")
GRAPH = f"{PLACE}/unet/model.onnx"
DATA = f"{PLACE}/unet/model.onnx.data"


def split(path: Path) -> None:
    """Moves the weights of a model into a second file."""
    model = onnx.load(str(path))
    path.unlink()
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=100,
        all_tensors_to_one_file=True,
    )


def split_draft(draft: BundleDraft) -> None:
    for name in COMPONENTS:
        split(draft.folder / PLACE / name / "model.onnx")
    add_audit(draft)


def write_split_bundle(path: Path) -> Path:
    with write_bundle(path) as draft:
        fill_draft(draft)
        split_draft(draft)
    return path
