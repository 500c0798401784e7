"""SIGKILL at any moment of a training: the run goes on, and every tensor of its last checkpoint is as if left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run_script


def test_a_run_killed_at_random_moments_ends_with_equal_weights(tmp_path: Path) -> None:
    assert run_script("tests.training.kill_run", "alternating", tmp_path, 3) == "killed 3, equal\n"


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
    assert run_script("tests.training.kill_run", variant, tmp_path, kills) == f"killed {kills}, equal\n"
