"""Bundles: the manifest, the digests, and writing that survives failure at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pruneguard.bundle import (
    MANIFEST,
    Audit,
    Bundle,
    BundleDraft,
    EngineRecord,
    Policy,
    Stage,
    amend_bundle,
    sha256_file,
    write_bundle,
)
from pruneguard.errors import AuditError, BundleError, LineageError
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


def audit(draft: BundleDraft, *, rate: float = 0.02, **changes: Any) -> Audit:
    made = Audit(
        concept="hatching",
        subject="onnx",
        limit=0.05,
        passed=rate <= 0.05,
        measurements=[Measurement(name="drawn", value=rate, unit="share", count=200)],
        digests=draft.digests("onnx"),
        settings=draft.settings_digest("onnx"),
    )
    return msgspec.structs.replace(made, **changes)


def leftovers(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")]


def edit(path: Path, **changes: Any) -> None:
    document = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**document, **changes}))


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
        draft.update(policy=Policy(["hatching"]))
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    assert [stage.name for stage in bundle.manifest.stages] == ["train", "audit"]
    assert bundle.manifest.policy.concepts == ["hatching"]
    assert len(bundle.manifest.files) == 4


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


ENTRY = {"concept": "hatching", "subject": "onnx", "limit": 0.05, "passed": True}
RECORD = msgspec.to_builtins(ENGINE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 3}, "install a newer one"),
        ({"format": "1"}, "`format` is '1'; it must be a whole number"),
        ({"format": True}, "`format` is True; it must be a whole number"),
        ({"stages": {}}, "`stages`: Expected `array`, got `object`"),
        ({"stages": [{"inputs": {}}]}, r"`stages\[0\]`: Object missing required field `name`"),
        ({"files": {"a": {"sha256": "A" * 64, "size": 1}}}, r"Expected `str` matching regex"),
        ({"files": {"a": {"sha256": "0" * 64, "size": -1}}}, "Expected `int` >= 0"),
        ({"policy": {"concepts": "hatching"}}, r"`policy\.concepts`: Expected `array`, got `str`"),
        ({"policy": {"limit": 1.5}}, r"`policy\.limit`: Expected `float` <= 1"),
        ({"extra": 1}, "unknown field `extra`; .* install a newer pruneguard"),
        ({"audits": [{**ENTRY, "passed": 1}]}, "Expected `bool`, got `int`"),
        ({"audits": [{**ENTRY, "measurements": [{"name": "drawn", "value": "0"}]}]}, "Expected `float`, got `str`"),
        ({"audits": [{**ENTRY, "measurements": [{"name": "drawn", "value": 1e999}]}]}, "not valid JSON"),
        ({"audits": [{**ENTRY, "digests": {"../x": "0" * 64}}]}, "not a relative path"),
        ({"audits": [ENTRY] * 2}, "one concept of one subject twice"),
        ({"engines": {"model": RECORD}}, "'model' is not an engine's name"),
        ({"engines": {"../x": RECORD}}, "'../x' is not an engine's name"),
        ({"engines": {"onnx": {**RECORD, "files": ["/etc"]}}}, "not a relative path"),
        ({"engines": {"onnx": {**RECORD, "components": {"unet": "../x"}}}}, "not a relative path"),
        ({"unets": {"default": "../model"}}, "not a relative path"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = make(tmp_path / "b").path
    edit(path, **changes)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)


def test_a_field_that_an_earlier_bundle_lacks_has_its_default(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    document = json.loads((path / MANIFEST).read_text())
    for name in ("macs", "unets", "concepts", "sampler", "policy"):
        del document[name]
    (path / MANIFEST).write_text(json.dumps(document))
    manifest = Bundle.open(path).manifest
    assert (manifest.macs, manifest.unets, manifest.policy) == ({}, {}, Policy([], 0.05))


def test_a_manifest_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    whole = (path / MANIFEST).read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        (path / MANIFEST).write_bytes(whole[:length])
        with pytest.raises(BundleError, match="not valid JSON"):
            Bundle.open(path)


@pytest.mark.parametrize(
    "text",
    ['{"sampler": {"steps": 1e999}}', "[1]", "null", '{"format": NaN}', "[" * 100_000, '{"a": 1, "a": 2}', "\xff"],
)
def test_hostile_json_is_refused(tmp_path: Path, text: str) -> None:
    path = make(tmp_path / "b").path
    (path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        Bundle.open(path)


def test_what_is_not_a_bundle_is_not_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json; `pruneguard train` makes one"):
            Bundle.open(path)


def test_audits_must_be_there_passed_and_of_these_files_and_settings(tmp_path: Path) -> None:
    def state(**changes: Any) -> Bundle:
        with write_bundle(tmp_path / "b") as draft:
            fill(draft)
            draft.update(policy=Policy(["hatching"]))
            if changes:
                draft.add_audit(audit(draft, rate=1.0))
                draft.add_audit(audit(draft, **changes))
        return Bundle.open(tmp_path / "b")

    state(rate=0.0).require_audits("onnx")
    wrong: list[tuple[dict[str, Any], type[BundleError], str]] = [
        ({}, LineageError, "was never audited"),
        ({"subject": "model"}, AuditError, "failed its audit"),
        ({"passed": False}, AuditError, "failed its audit"),
        ({"rate": 0.2, "passed": True}, AuditError, r"failed its audit \(20.0% drawn, limit 5.0%\)"),
        ({"digests": {}}, LineageError, "audited on other files"),
        ({"digests": {UNET: "0" * 64}}, LineageError, "audited on other files"),
        ({"settings": None}, LineageError, "audited with other settings"),
        ({"settings": "0" * 64}, LineageError, "audited with other settings"),
        ({"measurements": []}, BundleError, "has no rate"),
        ({"unet": "second"}, AuditError, "failed its audit"),
    ]
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            state(**changes).require_audits("onnx")
    with pytest.raises(LineageError, match="'monet' was never audited"):
        state(rate=0.0).require_audits("onnx", ["monet"])
    with pytest.raises(AuditError, match=r"2.0% drawn, limit 1.0%"):
        state(rate=0.02).require_audits("onnx", limit=0.01)


def test_a_failed_audit_is_not_broken_lineage(tmp_path: Path) -> None:
    assert not issubclass(AuditError, LineageError)
    assert (AuditError.code, LineageError.code) == ("audit_failed", "lineage_broken")


def test_an_engine_that_is_not_there_is_named_with_what_makes_it(tmp_path: Path) -> None:
    bundle = make(tmp_path / "b")
    with pytest.raises(BundleError, match=r"has no engine 'onx': did you mean 'onnx'\? choose from onnx"):
        bundle.require_audits("onx")
    with write_bundle(tmp_path / "empty") as draft:
        (draft.folder / "readme").write_text("x")
    for subject, remedy in (("onnx", "pruneguard export --onnx --bundle"), ("model", "pruneguard train --out")):
        with pytest.raises(BundleError, match=remedy):
            Bundle.open(tmp_path / "empty").require_audits(subject)


def test_an_audit_outlives_neither_its_files_nor_its_settings(tmp_path: Path) -> None:
    def change(draft: BundleDraft) -> None:
        (draft.folder / UNET).write_text("retrained")

    def other_sampler(draft: BundleDraft) -> None:
        draft.update(sampler={"steps": 5})

    def other_options(draft: BundleDraft) -> None:
        engine = msgspec.structs.replace(ENGINE, options={"graph": "fast"})
        draft.update(engines={"onnx": engine})

    for number, (edited, message) in enumerate(
        [(change, "other files"), (other_sampler, "other settings"), (other_options, "other settings")]
    ):
        path = tmp_path / str(number)
        with write_bundle(path) as draft:
            fill(draft)
            draft.update(policy=Policy(["hatching"]))
            draft.add_audit(audit(draft))
        Bundle.open(path).require_audits("onnx")
        with write_bundle(path, base=path) as draft:
            edited(draft)
        with pytest.raises(LineageError, match=f"audited .* {message}"):
            Bundle.open(path).require_audits("onnx")


def test_an_audit_of_an_earlier_engine_of_the_same_name_stays_and_does_not_hold(tmp_path: Path) -> None:
    with write_bundle(tmp_path / "b") as draft:
        fill(draft)
        draft.update(policy=Policy(["hatching"]))
        draft.add_audit(audit(draft))
        draft.add_engine("onnx", msgspec.structs.replace(ENGINE, precision="int8"))
    bundle = Bundle.open(tmp_path / "b")
    assert len(bundle.manifest.audits) == 1
    with pytest.raises(LineageError, match="audited with other settings"):
        bundle.require_audits("onnx")


@pytest.mark.parametrize("name", ["../x", "a/b", "A B", "model", "", "..", "x" * 65])
def test_a_wrong_engine_name_is_refused_when_it_is_added(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="is not an engine's name"), write_bundle(tmp_path / "b") as draft:
        draft.add_engine(name, ENGINE)
    assert not (tmp_path / "b").exists()


def test_an_engine_reads_nothing_that_its_audits_do_not_cover(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    for change in ({"components": {"unet": "model/unet"}}, {"tokenizer": "model/tokenizer"}):
        edit(path, engines={"onnx": {**msgspec.to_builtins(ENGINE), **change}})
        with pytest.raises(BundleError, match="which its files do not cover"):
            Bundle.open(path)


def test_engines_may_share_files_and_each_has_its_own_digests(tmp_path: Path) -> None:
    with write_bundle(tmp_path / "b") as draft:
        fill(draft)
        shared = msgspec.structs.replace(
            ENGINE, target="other", files=[UNET, "engines/onnx/unet", "engines/onnx/tokenizer"]
        )
        draft.add_engine("other", shared)
    bundle = Bundle.open(tmp_path / "b")
    assert sorted(bundle.digests("onnx")) == ["engines/onnx/unet/config.json", UNET]
    assert sorted(bundle.digests("other")) == ["engines/onnx/unet/config.json", UNET]
    assert bundle.manifest.subjects() == ("model", "onnx", "other")


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
    make(tmp_path / "b").verify()


def test_a_folder_that_cannot_be_written_gets_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "b", Path("/proc/self/b")):
        with pytest.raises(BundleError, match="choose a folder that you may write to"), write_bundle(path):
            pass


def test_importing_bundle_is_light_and_locks_nothing() -> None:
    heavy = ("torch", "numpy", "diffusers", "fcntl", "pruneguard.staging")
    code = f"import sys, pruneguard.bundle; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
