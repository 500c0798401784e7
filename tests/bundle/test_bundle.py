"""Bundles: what is written is read back, and every file is verified."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruneguard.bundle import (
    Bundle,
    Stage,
    sha256_file,
)
from pruneguard.errors import LineageError
from tests.bundle.bundles import ENGINE, leftovers, make


def test_what_is_written_is_read_back_and_verifies(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    assert bundle.manifest.stages == [Stage("train", settings={"rate": 1e-6}, seeds={"noise": 7})]
    assert bundle.manifest.engines == {"onnx": ENGINE}
    assert sorted(bundle.manifest.files) == [
        "engines/onnx/unet/config.json",
        "engines/onnx/unet/model.onnx",
        "model/unet/model.safetensors",
    ]
    record = bundle.manifest.files["engines/onnx/unet/model.onnx"]
    assert record.sha256 == sha256_file(bundle.file("engines/onnx/unet/model.onnx"))
    assert record.size == len("weights of engines/onnx/unet/model.onnx")
    bundle.verify().check()
    assert leftovers(bundle.path) == []


def test_a_bundle_can_be_moved(tmp_path: Path) -> None:
    made = make(tmp_path / "b")
    made.path.rename(tmp_path / "c")
    moved = Bundle.open(tmp_path / "c")
    moved.verify()
    assert moved.manifest == made.manifest


@pytest.mark.parametrize("change", ["edit", "remove", "add", "link", "hard link", "linked folder", "fifo"])
def test_verify_names_what_is_wrong(tmp_path: Path, change: str) -> None:
    bundle = make(tmp_path / "b")
    file = bundle.path / "engines/onnx/unet/model.onnx"
    if change == "edit":
        file.write_text("Weights of engines/onnx/unet/model.onnx")
        expected = "changed: engines/onnx/unet/model.onnx"
    elif change == "remove":
        file.unlink()
        expected = "missing: engines/onnx/unet/model.onnx"
    elif change == "add":
        (bundle.path / "engines/onnx/.hidden").write_text("x")
        expected = "not in the manifest: engines/onnx/.hidden"
    elif change == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
        expected = "links or special files: engines/onnx/unet/model.onnx"
    elif change == "hard link":
        os.link(file, tmp_path / "second-name")
        expected = "links or special files: engines/onnx/unet/model.onnx"
    elif change == "linked folder":
        (bundle.path / "more").symlink_to(tmp_path)
        expected = "links or special files: more"
    else:
        os.mkfifo(bundle.path / "pipe")
        expected = "links or special files: pipe"
    with pytest.raises(LineageError) as caught:
        bundle.verify()
    assert expected in str(caught.value)


def test_a_seal_sees_a_later_change(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    seal = bundle.verify()
    file = bundle.file("engines/onnx/unet/model.onnx")
    before = file.stat()
    file.write_text("Weights of engines/onnx/unet/model.onnx")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(LineageError, match=r"changed while it was being loaded: engines/onnx/unet/model\.onnx"):
        seal.check()


def test_a_path_through_a_link_is_refused(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    (bundle.path / "more").symlink_to("/etc")
    with pytest.raises(LineageError, match="symbolic link"):
        bundle.file("more/passwd")


def test_importing_bundle_is_light_and_locks_nothing() -> None:
    heavy = ("torch", "numpy", "diffusers", "fcntl", "pruneguard.staging")
    code = f"import sys, pruneguard.bundle; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
