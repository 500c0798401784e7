"""Whatever a model folder holds: it is loaded and encodes a text, or one of our errors is raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.folders import contents, folders
from tests.fuzz.harness import RESULT, Fault, Harness
from tests.fuzz.tiers import tiers

DEADLINE = 60
"""Seconds: loading takes a tenth of one."""
GROWTH = 192
"""MiB: the libraries keep what they have loaded once."""


@tiers(300)
def test_every_model_folder_is_loaded_or_refused_by_one_of_our_errors(
    tiny_folder: Path, tmp_path: Path, count: int
) -> None:
    harness = Harness(DEADLINE, GROWTH)
    harness.explore(folders(tiny_folder, contents(tiny_folder)), lambda folder: folder.load(tmp_path / "folder"), count)
    assert harness.outcomes[RESULT] > count / 20
    assert harness.outcomes["invalid_model"] > count / 4


def test_a_model_folder_whose_errors_are_not_translated_is_found(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untranslated(kind: Any, folder: Path, **options: Any) -> Any:
        return kind.from_pretrained(folder, local_files_only=True, **options)

    monkeypatch.setattr("pruneguard.models._load", untranslated)
    with pytest.raises(Fault, match=r"is not one of our errors: .*"):
        Harness(DEADLINE, GROWTH).explore(
            folders(tiny_folder, contents(tiny_folder)), lambda folder: folder.load(tmp_path / "folder"), 300
        )
