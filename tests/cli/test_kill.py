"""SIGKILL at any moment: a command that is run again ends where it would have, and no bundle is ever half written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


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
    script = Path(__file__).with_name("kill_run.py")
    done = subprocess.run(
        [sys.executable, str(script), name, str(tmp_path), str(kills)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"killed {kills}, equal"
