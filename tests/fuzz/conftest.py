"""Fixtures of the fuzz tests: bundles and a model folder that cases copy and harm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pruneguard.bundle import write_bundle
from tests.bundle.test_formats import FIXTURE
from tests.runtime.tiny_bundle import add_audit, fill_draft


@pytest.fixture(scope="session")
def whole_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny audited bundle, for reading only."""
    path = tmp_path_factory.mktemp("fuzz") / "format-2"
    with write_bundle(path) as draft:
        fill_draft(draft)
        add_audit(draft)
    return path


@pytest.fixture
def bases(whole_bundle: Path, tmp_path: Path) -> dict[Path, bytes]:
    """The folders of a bundle of each format, whose manifests cases write, and the whole manifests."""
    copies = [tmp_path / "format-2", tmp_path / "format-1"]
    for source, copy in zip([whole_bundle, FIXTURE], copies, strict=True):
        shutil.copytree(source, copy)
    return {copy: (copy / "bundle.json").read_bytes() for copy in copies}
