"""Writing a bundle survives failure at any moment, and deletes nothing that is not its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import (
    MANIFEST,
    Bundle,
    Policy,
    Stage,
    amend_bundle,
    write_bundle,
)
from pruneguard.errors import BundleError, LineageError
from tests.bundle.bundles import UNET, audit, fill, leftovers, make


def test_a_draft_on_a_base_keeps_what_is_not_changed(tmp_path: Path) -> None:
    make(tmp_path / "b")
    with write_bundle(tmp_path / "b", base=tmp_path / "b") as draft:
        (draft.folder / "report.txt").write_text("fine")
        draft.add_stage(Stage("audit"))
        draft.update(policy=Policy(["hatching"]))
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    assert [stage.name for stage in bundle.manifest.stages] == ["train", "audit"]
    assert bundle.manifest.policy.concepts == ["hatching"]
    assert len(bundle.manifest.files) == 4


def test_amending_writes_the_manifest_alone(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    before = {path: path.stat().st_ino for path in bundle.path.rglob("*") if path.name != MANIFEST}
    with amend_bundle(bundle, bundle.verify()) as draft:
        draft.add_audit(audit(draft))
    after = Bundle.open(bundle.path)
    after.verify()
    assert len(after.manifest.audits) == 1
    assert {path: path.stat().st_ino for path in bundle.path.rglob("*") if path.name != MANIFEST} == before
    assert leftovers(bundle.path) == []


def test_amending_notices_that_the_bundle_changed_meanwhile(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    with pytest.raises(LineageError, match="changed while"), amend_bundle(bundle, bundle.verify()) as draft:
        draft.add_audit(audit(draft))
        (bundle.path / UNET).write_text("other weights")
    bundle = make(tmp_path / "c")
    with pytest.raises(LineageError, match="changed"), amend_bundle(bundle, bundle.verify()):
        make(tmp_path / "c", "new weights")
    Bundle.open(tmp_path / "c").verify()


def test_a_tampered_base_is_not_vouched_for_anew(tmp_path: Path) -> None:
    base = make(tmp_path / "b").path
    (base / "engines/onnx/unet/model.onnx").write_text("tampered")
    with (
        pytest.raises(LineageError, match=r"/b: changed: engines/onnx/unet/model\.onnx"),
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
    bundle = make(tmp_path / "b")
    bundle.verify()
    assert {path.name for path in bundle.path.iterdir()} == {MANIFEST, "engines", "model"}


def test_a_folder_that_cannot_be_written_gets_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "b", Path("/proc/self/b")):
        with pytest.raises(BundleError, match="choose a folder that you may write to"), write_bundle(path):
            pass
