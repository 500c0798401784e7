"""SIGKILL at any moment of a training: the run goes on, and every tensor of its last checkpoint is as if left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def survives(variant: str, kills: int, folder: Path) -> None:
    script = Path(__file__).with_name("kill_run.py")
    done = subprocess.run(
        [sys.executable, str(script), variant, str(folder), str(kills)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"killed {kills}, equal\n"


def test_a_run_killed_at_random_moments_ends_with_equal_weights(tmp_path: Path) -> None:
    survives("alternating", 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "kills"),
    [
        ("alternating", 20),
        ("salun", 10),
        ("two-stage", 10),
        ("erase-first", 10),
        ("penalty", 10),
        ("penalty-copy", 10),
        ("uce", 10),
    ],
)
def test_every_schedule_and_kind_of_eraser_survives_kills(variant: str, kills: int, tmp_path: Path) -> None:
    survives(variant, kills, tmp_path)
