"""Options of `train` change the file's settings one by one, and the file changes the preset's."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pruneguard.cli import pruneguard
from pruneguard.cli.options import read_settings
from pruneguard.errors import ConfigError
from pruneguard.settings import Choice

FILE = """
[training.schedule]
name = "penalty"
weight = 7
[training.erasure.eraser]
name = "esd"
eta = 2.0
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "settings.toml").write_text(FILE)
    return tmp_path / "settings.toml"


def test_eraser_and_schedule_are_chosen_by_name() -> None:
    training = read_settings(None, {"eraser": "esd", "schedule": "two-stage"}).training
    assert training.erasure.eraser == Choice("esd", {"eta": 1.0})
    assert training.schedule == Choice("two-stage", {"upper_steps": 200})


def test_a_name_that_the_file_has_too_keeps_the_files_options(config: Path) -> None:
    training = read_settings(config, {"eraser": "esd", "schedule": "penalty"}).training
    assert training.erasure.eraser == Choice("esd", {"eta": 2.0})
    assert training.schedule == Choice("penalty", {"weight": 7.0, "copy": False, "inner": 20})


def test_another_name_drops_the_options_of_the_files(config: Path) -> None:
    training = read_settings(config, {"eraser": "anchor", "schedule": "alternating"}).training
    assert training.erasure.eraser == Choice("anchor")
    assert training.schedule == Choice("alternating", {"every": 20})


def test_an_unknown_name_is_answered_with_those_that_are_registered() -> None:
    with pytest.raises(ConfigError, match=r"unknown eraser 'esdd': did you mean 'esd'\? choose from anchor, .*esd"):
        read_settings(None, {"eraser": "esdd"})
    with pytest.raises(ConfigError, match=r"unknown schedule 'x': choose from alternating, erase-first, .*two-stage"):
        read_settings(None, {"schedule": "x"})


@pytest.mark.parametrize("name", ["train", "prune"])
def test_the_help_of_every_option_fits_its_line(name: str) -> None:
    command = pruneguard.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    shown = CliRunner().invoke(command, ["--help"], terminal_width=80).output
    described = shown.partition("Options:\n")[2].splitlines()
    assert len(described) >= 10
    assert [line for line in described if not line.lstrip().startswith("-")] == []
    listed = CliRunner().invoke(pruneguard, ["--help"], terminal_width=80).output
    assert command.short_help is not None
    assert command.short_help in listed
