"""Everything that is read has a bound, and a pipe in the place of a file is an error instead of a wait."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pruneguard.bundle import MANIFEST, Bundle, BundleDraft, Stage, copy_folder, read_json
from pruneguard.bundle.manifest import MANIFEST_LIMIT, dump_manifest
from pruneguard.errors import BundleError, LineageError
from tests.bundle.bundles import UNET, make


def test_a_pipe_for_a_manifest_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(BundleError, match=r"bundle\.json cannot be read \(not a regular file\)"):
        Bundle.open(tmp_path)


def test_a_manifest_has_a_bound_when_it_is_read_and_when_it_is_written(tmp_path: Path) -> None:
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(MANIFEST_LIMIT + 1)
    with pytest.raises(BundleError, match=r"bundle\.json cannot be read \(larger than 16 MiB\)"):
        Bundle.open(tmp_path)
    draft = BundleDraft(tmp_path)
    draft.add_stage(Stage("train", settings={"words": "x" * MANIFEST_LIMIT}))
    with pytest.raises(BundleError, match=r"bundle\.json would have 16 MiB; record fewer values"):
        dump_manifest(draft.manifest)


def test_a_folder_that_goes_while_it_is_verified_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make(tmp_path / "b")
    found = {UNET, "model/unet/model.safetensors", "engines/onnx/unet/config.json"}
    monkeypatch.setattr("pruneguard.bundle.reading.scan", lambda folder: (found, set()))
    shutil.rmtree(bundle.path / "engines")
    with pytest.raises(LineageError, match=r"engines/onnx/unet/config\.json cannot be read \(No such file"):
        bundle.verify()
    with pytest.raises(LineageError, match=r"cannot be read \(No such file"), bundle.verified("onnx"):
        pass


def test_a_file_is_not_read_far_beyond_its_recorded_size(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    os.truncate(bundle.path / UNET, 1 << 40)
    with pytest.raises(LineageError, match=f"changed: {UNET}"):
        bundle.verify()


def test_a_copy_of_a_folder_takes_plain_files_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with copy_folder(tmp_path) as files:
        assert files.read("a") == b"a"
        with pytest.raises(BundleError, match="b is missing or is a link"):
            files.read("b")
        with pytest.raises(BundleError, match="a is larger than 0 MiB"):
            files.read("a", limit=0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="links or special files: pipe"), copy_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "is not valid JSON"),
        ("9" * 5000, "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ("\x00", "is not valid JSON"),
    ],
)
def test_a_configuration_that_is_no_json_object_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BundleError, match=rf"config\.json {message}"):
        read_json(tmp_path / "config.json")
