"""SIGKILL at any moment: a command that is run again ends where it would have, and no bundle is ever half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_script


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("train", 20),
        ("export", 20),
        ("uce", 10),
        ("salun", 10),
        ("two-stage", 10),
        ("erase-first", 10),
        ("penalty", 10),
    ],
)
def test_a_command_killed_at_random_moments_ends_as_if_left_alone(name: str, kills: int, tmp_path: Path) -> None:
    said = run_script("tests.cli.kill_run", name, tmp_path, kills)
    assert said.splitlines()[-1] == f"killed {kills}, equal"
