"""A bundle of a few small files, its audits, and what tests do to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from pruneguard.bundle import (
    MANIFEST,
    Audit,
    Bundle,
    BundleDraft,
    EngineRecord,
    Stage,
    write_bundle,
)
from pruneguard.measurement import Measurement

UNET = "engines/onnx/unet/model.onnx"
ENGINE = EngineRecord(
    target="onnx",
    backend="onnxruntime",
    components={"unet": "engines/onnx/unet"},
    tokenizer="engines/onnx/tokenizer",
    files=["engines/onnx"],
)


def fill(draft: BundleDraft, text: str = "weights") -> None:
    for name in ("model/unet/model.safetensors", UNET, "engines/onnx/unet/config.json"):
        (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (draft.folder / name).write_text(f"{text} of {name}")
    draft.add_engine("onnx", ENGINE)


def make(path: Path, text: str = "weights") -> Bundle:
    with write_bundle(path) as draft:
        fill(draft, text)
        draft.add_stage(Stage("train", settings={"rate": 1e-6}, seeds={"noise": 7}))
    return Bundle.open(path)


def drawn(rate: float, **changes: Any) -> Measurement:
    """A rate on 200 pictures whose bound is a hundredth above it."""
    made = Measurement(name="drawn", value=rate, unit="share", high=min(1.0, rate + 0.01), count=200)
    return msgspec.structs.replace(made, **changes)


def audit(draft: BundleDraft, *, rate: float = 0.02, **changes: Any) -> Audit:
    made = Audit(
        concept="hatching",
        subject="onnx",
        limit=0.05,
        passed=rate <= 0.04,
        measurements=[drawn(rate)],
        control=[drawn(1.0)],
        digests=draft.digests("onnx"),
        settings=draft.settings_digest("onnx"),
    )
    return msgspec.structs.replace(made, **changes)


def leftovers(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")]


def edit(path: Path, **changes: Any) -> None:
    document = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**document, **changes}))
