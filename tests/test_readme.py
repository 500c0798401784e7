"""The README's settings are settings that a user can copy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pruneguard.concepts import read_concept
from pruneguard.stages.settings import RunSettings

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_concept_of_the_readme_is_one(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if block.startswith("name = ")]
    path = tmp_path / "tower.toml"
    path.write_text(block, encoding="utf-8")
    concept = read_concept(path)
    assert (concept.name, len(concept.prompts), len(concept.audit_implicit_prompts)) == ("tower-trademark", 2, 2)


@pytest.mark.parametrize("tables", [tomllib.loads(block) for block in BLOCKS if block.startswith("[")])
def test_the_settings_of_the_readme_are_settings(tables: dict[str, Any]) -> None:
    settings = RunSettings.resolve("atelier", tables)
    assert settings != RunSettings.resolve("atelier", {})
