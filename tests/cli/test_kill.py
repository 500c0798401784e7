"""SIGKILL at any moment: a command that is run again ends where it would have, and no bundle is ever half written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KILLS = 20
Runs = dict[str, "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Both commands under fire at once, one on each core."""
    script = Path(__file__).with_name("kill_run.py")
    started: Runs = {}
    for command in ("train", "export"):
        arguments = [sys.executable, str(script), command, str(tmp_path_factory.mktemp(command)), str(KILLS)]
        started[command] = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "export"])
def test_a_command_killed_at_twenty_moments_ends_as_if_left_alone(command: str, runs: Runs) -> None:
    told, complained = runs[command].communicate()
    assert runs[command].returncode == 0, complained
    assert told.splitlines()[-1] == f"killed {KILLS}, equal"
