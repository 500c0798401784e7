"""Bundles: the manifest, the digests, and writing that survives failure at any moment."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import MANIFEST, Audit, Bundle, BundleDraft, Stage, sha256_file, write_bundle
from pruneguard.errors import BundleError, LineageError


def fill(draft: BundleDraft, text: str = "weights") -> None:
    for name in ("model/unet/model.safetensors", "onnx/unet/model.onnx", "onnx/unet/config.json"):
        (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (draft.folder / name).write_text(f"{text} of {name}")


def make(path: Path, text: str = "weights") -> Bundle:
    with write_bundle(path) as draft:
        fill(draft, text)
        draft.add_stage(Stage("train", settings={"rate": 1e-6}, seeds={"noise": 7}))
    return Bundle.open(path)


def audit(digests: dict[str, str], **changes: Any) -> Audit:
    made = Audit("hatching", "onnx", 0.02, 0.05, True, {"object": 0.98}, 200, digests)
    return dataclasses.replace(made, **changes)


def leftovers(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")]


def edit(path: Path, **changes: Any) -> None:
    document = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**document, **changes}))


def test_what_is_written_is_read_back_and_verifies(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    assert bundle.manifest.stages == (Stage("train", settings={"rate": 1e-6}, seeds={"noise": 7}),)
    assert sorted(bundle.manifest.files) == [
        "model/unet/model.safetensors",
        "onnx/unet/config.json",
        "onnx/unet/model.onnx",
    ]
    record = bundle.manifest.files["onnx/unet/model.onnx"]
    assert record.sha256 == sha256_file(bundle.file("onnx/unet/model.onnx"))
    assert record.size == len("weights of onnx/unet/model.onnx")
    bundle.verify().check()
    assert leftovers(bundle.path) == []


def test_the_manifest_is_canonical(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    text = (first.path / MANIFEST).read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"
    assert first.digest == second.digest == sha256_file(first.path / MANIFEST)


def test_a_bundle_can_be_moved(tmp_path: Path) -> None:
    make(tmp_path / "b").path.rename(tmp_path / "c")
    Bundle.open(tmp_path / "c").verify()


def test_a_draft_on_a_base_keeps_what_is_not_changed(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with write_bundle(tmp_path / "b", base=tmp_path / "b") as draft:
        (draft.folder / "report.txt").write_text("fine")
        draft.add_stage(Stage("audit"))
        draft.update(policy={"concepts": ["hatching"]})
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    assert [stage.name for stage in bundle.manifest.stages] == ["train", "audit"]
    assert bundle.manifest.policy_concepts == ("hatching",)
    assert len(bundle.manifest.files) == 4


@pytest.mark.parametrize("change", ["edit", "remove", "add", "link", "hard link", "linked folder", "fifo"])
def test_verify_names_what_is_wrong(tmp_path: Path, change: str) -> None:
    bundle = make(tmp_path / "b")
    file = bundle.path / "onnx/unet/model.onnx"
    if change == "edit":
        file.write_text("Weights of onnx/unet/model.onnx")
        expected = "changed: onnx/unet/model.onnx"
    elif change == "remove":
        file.unlink()
        expected = "missing: onnx/unet/model.onnx"
    elif change == "add":
        (bundle.path / "onnx/.hidden").write_text("x")
        expected = "not in the manifest: onnx/.hidden"
    elif change == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
        expected = "links or special files: onnx/unet/model.onnx"
    elif change == "hard link":
        os.link(file, tmp_path / "second-name")
        expected = "links or special files: onnx/unet/model.onnx"
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
    file = bundle.file("onnx/unet/model.onnx")
    before = file.stat()
    file.write_text("Weights of onnx/unet/model.onnx")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(LineageError, match=r"changed while it was being loaded: onnx/unet/model\.onnx"):
        seal.check()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", ".", "a//b", "C:/x"])
def test_paths_out_of_a_bundle_are_refused(tmp_path: Path, path: str) -> None:
    bundle = make(tmp_path / "b")
    with pytest.raises(BundleError, match="not a relative path"):
        bundle.file(path)
    edit(bundle.path, files={path: {"sha256": "0" * 64, "size": 1}})
    with pytest.raises(BundleError, match="not a relative path"):
        Bundle.open(bundle.path)


def test_a_path_through_a_link_is_refused(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    (bundle.path / "more").symlink_to("/etc")
    with pytest.raises(LineageError, match="symbolic link"):
        bundle.file("more/passwd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "install a newer pruneguard"),
        ({"format": "1"}, "format must be the number 1"),
        ({"format": True}, "format must be the number 1"),
        ({"stages": {}}, "stages must be a list"),
        ({"stages": [{"name": "train"}]}, r"stages\[0\] lacks or does not know: inputs"),
        ({"files": {"a": {"sha256": "A" * 64, "size": 1}}}, "a SHA-256 digest"),
        ({"files": {"a": {"sha256": "0" * 64, "size": -1}}}, "a whole number"),
        ({"policy": {}}, "policy.concepts must be a list"),
        ({"policy": {"concepts": "hatching"}}, "policy.concepts must be a list"),
        ({"extra": 1}, "does not know: extra"),
        ({"audits": [dataclasses.asdict(audit({}, subject="trt"))]}, "subject must be one of model, onnx"),
        ({"audits": [dataclasses.asdict(audit({}, passed=1))]}, "passed must be true or false"),
        ({"audits": [dataclasses.asdict(audit({}, target_rate="0"))]}, "target_rate must be a finite number"),
        ({"audits": [dataclasses.asdict(audit({"../x": "0" * 64}))]}, "not a relative path"),
        ({"audits": [dataclasses.asdict(audit({}))] * 2}, "at most one audit"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = make(tmp_path / "b").path
    edit(path, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(path)


def test_a_manifest_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    whole = (path / MANIFEST).read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        (path / MANIFEST).write_bytes(whole[:length])
        with pytest.raises(BundleError, match="not valid JSON"):
            Bundle.open(path)


@pytest.mark.parametrize("text", ["[1]", "null", '{"format": NaN}', "[" * 100_000, '{"a": 1, "a": 2}', "\xff"])
def test_hostile_json_is_refused(tmp_path: Path, text: str) -> None:
    path = make(tmp_path / "b").path
    (path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        Bundle.open(path)


def test_what_is_not_a_bundle_is_not_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json; `pruneguard train` makes one"):
            Bundle.open(path)


def test_audits_must_be_there_passed_and_of_these_files(tmp_path: Path) -> None:
    def state(**changes: Any) -> Bundle:
        with write_bundle(tmp_path / "b") as draft:
            fill(draft)
            draft.update(policy={"concepts": ["hatching"]})
            if changes:
                draft.add_audit(audit(draft.weights("onnx"), target_rate=1.0, passed=False))
                draft.add_audit(audit(**{"digests": draft.weights("onnx"), **changes}))
        return Bundle.open(tmp_path / "b")

    state(images=500).require_audits("onnx")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "was never audited"),
        ({"subject": "model"}, "failed its audit"),
        ({"passed": False}, "failed its audit"),
        ({"target_rate": 0.2}, "failed its audit"),
        ({"digests": {}}, "audited on other files"),
        ({"digests": {"onnx/unet/model.onnx": "0" * 64}}, "audited on other files"),
    ]
    for changes, message in wrong:
        with pytest.raises(LineageError, match=message):
            state(**changes).require_audits("onnx")
    with pytest.raises(LineageError, match="'monet' was never audited"):
        state(images=500).require_audits("onnx", ["monet"])


def test_an_audit_does_not_outlive_its_weights(tmp_path: Path) -> None:
    with write_bundle(tmp_path / "b") as draft:
        fill(draft)
        draft.update(policy={"concepts": ["hatching"]})
        draft.add_audit(audit(draft.weights("onnx")))
    with write_bundle(tmp_path / "b", base=tmp_path / "b") as draft:
        (draft.folder / "onnx/unet/model.onnx").write_text("retrained")
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    with pytest.raises(LineageError, match="audited on other files"):
        bundle.require_audits("onnx")


def test_a_tampered_base_is_not_vouched_for_anew(tmp_path: Path) -> None:
    base = make(tmp_path / "b").path
    (base / "onnx/unet/model.onnx").write_text("tampered")
    with (
        pytest.raises(LineageError, match=r"/b: changed: onnx/unet/model\.onnx"),
        write_bundle(tmp_path / "new", base=base),
    ):
        pass
    assert not (tmp_path / "new").exists()
    assert leftovers(base) == []


def test_a_failed_block_leaves_the_old_bundle(tmp_path: Path) -> None:
    old = make(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt), write_bundle(old.path, base=old.path) as draft:
        fill(draft, "half")
        raise KeyboardInterrupt
    assert Bundle.open(old.path).digest == old.digest
    old.verify()
    assert leftovers(old.path) == []


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, Path("x")])
def test_what_json_cannot_carry_is_refused_and_nothing_lost(tmp_path: Path, value: Any) -> None:
    old = make(tmp_path / "b")
    with pytest.raises(BundleError, match="cannot be written as JSON"), write_bundle(old.path) as draft:
        draft.update(macs={"total": value})
    assert Bundle.open(old.path).digest == old.digest


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path: Path) -> None:
    for name in ("notes", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
    (tmp_path / "broken" / MANIFEST).write_text("{}")
    (tmp_path / "file").write_text("work")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    for name in ("notes", "broken", "file", "link"):
        with pytest.raises(BundleError, match="choose another folder"), write_bundle(tmp_path / name):
            pass
    assert (tmp_path / "notes/thesis.txt").read_text() == (tmp_path / "broken/thesis.txt").read_text()
    assert leftovers(tmp_path / "notes") == []


def test_a_file_put_into_a_bundle_by_hand_is_not_deleted(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    (path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt, which writing would delete"), write_bundle(path):
        pass
    assert (path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    make(tmp_path / "b").verify()


def test_a_folder_that_cannot_be_written_gets_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "b", Path("/proc/self/b")):
        with pytest.raises(BundleError, match="choose a folder that you may write to"), write_bundle(path):
            pass


def test_importing_bundle_is_light() -> None:
    code = "import sys, pruneguard.bundle; print([m for m in ('torch', 'numpy', 'diffusers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
