"""A bundle that an earlier pruneguard wrote: its model is read, its engines are made anew by one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pruneguard.bundle import FORMAT, MANIFEST, Bundle, write_bundle
from pruneguard.errors import BundleError, InvalidAuditError, LineageError
from pruneguard.measurement import named

FIXTURE = Path(__file__).with_name("format-1")
"""Written by pruneguard 0.1.0 with format 1: a model of two small files, three ONNX graphs, and audits of both."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


def test_a_bundle_of_format_1_is_read_and_verified(old: Path) -> None:
    bundle = Bundle.open(old)
    bundle.verify()
    assert (bundle.format, bundle.manifest.format) == (1, FORMAT)
    assert (bundle.manifest.family, bundle.manifest.unets) == ("atelier", {"default": "model/unet"})
    assert [stage.name for stage in bundle.manifest.stages] == ["prune", "train", "export"]
    numbers = {entry.name: entry.value for entry in bundle.manifest.stages[0].measurements}
    assert numbers == {"ratio": 0.58, "dense": 315, "pruned": 182}


def test_the_audit_of_its_model_is_read_and_proves_nothing_without_a_control(old: Path) -> None:
    bundle = Bundle.open(old)
    with pytest.raises(InvalidAuditError, match=r"has no control, .*; run `pruneguard audit --subject model --bundle"):
        bundle.require_audits("model")
    audit = bundle.manifest.audit("model", "hatching")
    assert audit is not None
    drawn = audit.drawn
    assert (drawn.value, drawn.count, drawn.seeds, drawn.protocol.detector) == (
        0.015625,
        64,
        (1000, 1063),
        "atelier-oracle",
    )
    assert {name: entry.value for name, entry in named(audit.measurements, "kept").items()} == {
        "object": 0.97,
        "style": 0.98,
        "colour": 0.99,
    }
    (old / "model/unet/config.json").write_text("{}")
    with pytest.raises(LineageError, match=r"changed: model/unet/config\.json"):
        bundle.verify()


def test_its_engines_are_refused_with_the_command_that_remakes_them(old: Path) -> None:
    bundle = Bundle.open(old)
    assert bundle.manifest.engines == {}
    with pytest.raises(BundleError, match=r"has format 1, whose engines do not run any more; run `pruneguard export"):
        bundle.require_audits("onnx")


def test_a_stage_writes_it_in_the_format_of_today(old: Path) -> None:
    with write_bundle(old, base=old) as draft:
        shutil.rmtree(draft.folder / "onnx")
    bundle = Bundle.open(old)
    bundle.verify()
    assert bundle.manifest.audit("model", "hatching") is not None
    assert (bundle.format, json.loads((old / MANIFEST).read_text())["format"]) == (FORMAT, FORMAT)


@pytest.mark.parametrize("missing", ["stages", "files", "sampler", "concepts", "audits", "macs", "policy"])
def test_a_manifest_of_format_1_that_lacks_a_part_is_refused(old: Path, missing: str) -> None:
    document = json.loads((old / MANIFEST).read_text())
    del document[missing]
    (old / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=f"not a whole manifest of format 1 .*{missing}"):
        Bundle.open(old)
