"""Audits in a bundle: of which files, settings and engine each one holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pruneguard.bundle import (
    Bundle,
    BundleDraft,
    Policy,
    write_bundle,
)
from pruneguard.errors import AuditError, BundleError, InvalidAuditError, LineageError
from tests.bundle.bundles import ENGINE, UNET, audit, drawn, edit, fill, make


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
        ({"rate": 0.2, "passed": True}, AuditError, r"its audit \(20.0% \(at most 21.0%\) drawn, limit 5.0%\)"),
        ({"rate": 0.045, "passed": True}, AuditError, r"4.5% \(at most 5.5%\) drawn"),
        ({"control": []}, InvalidAuditError, "shows nothing: it has no control"),
        ({"control": [drawn(0.4)]}, InvalidAuditError, "sees the concept in 40.0% of the teacher's own pictures"),
        ({"digests": {}}, LineageError, "audited on other files"),
        ({"digests": {UNET: "0" * 64}}, LineageError, "audited on other files"),
        ({"settings": None}, LineageError, "audited with other settings"),
        ({"settings": "0" * 64}, LineageError, "audited with other settings"),
        ({"measurements": []}, InvalidAuditError, "has no rate"),
        ({"unet": "second"}, AuditError, "failed its audit"),
    ]
    for changes, error, message in wrong:
        with pytest.raises(error, match=message):
            state(**changes).require_audits("onnx")
    with pytest.raises(LineageError, match="'monet' was never audited"):
        state(rate=0.0).require_audits("onnx", ["monet"])
    with pytest.raises(AuditError, match=r"2.0% \(at most 3.0%\) drawn, limit 2.5%"):
        state(rate=0.02).require_audits("onnx", limit=0.025)


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
