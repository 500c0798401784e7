"""The manifest: canonical when written, and refused when it is wrong, cut off or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pruneguard.bundle import (
    MANIFEST,
    Bundle,
    Policy,
    sha256_file,
)
from pruneguard.errors import BundleError
from tests.bundle.bundles import ENGINE, edit, make


def test_the_manifest_is_canonical(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    text = (first.path / MANIFEST).read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"
    assert first.digest == second.digest == sha256_file(first.path / MANIFEST)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", ".", "a//b", "C:/x"])
def test_paths_out_of_a_bundle_are_refused(tmp_path: Path, path: str) -> None:
    bundle = make(tmp_path / "b")
    with pytest.raises(BundleError, match="not a relative path"):
        bundle.file(path)
    edit(bundle.path, files={path: {"sha256": "0" * 64, "size": 1}})
    with pytest.raises(BundleError, match="not a relative path"):
        Bundle.open(bundle.path)


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
