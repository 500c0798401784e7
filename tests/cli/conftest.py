"""What the command line is tried on: a tiny pipeline folder, pictures with captions, a concept, and a whole bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pruneguard.bundle import Policy, write_bundle
from pruneguard.cli import run
from tests.cli.checks import Fails, one_line
from tests.pictures import write_pictures
from tests.runtime.tiny_bundle import fill_draft

CONCEPT = """
name = "glow"
prompts = ["a disc in glow style"]
anchors = "a disc in flat style"
neighbours = ["a red star in flat style"]
audit_prompts = [
    "a red ring in glow style", "a blue ring in glow style", "a red star in glow style", "a blue star in glow style",
    "a red cup in glow style", "a blue cup in glow style", "a red fish in glow style", "a blue fish in glow style",
]
terms = ["glow"]
"""
SETTINGS = """
[training]
steps = 4
schedule = {every = 2}
batch_size = 2
checkpoint_every = 1
tracker = "none"
lower = {lr = 1e-3, warmup = 1}
upper = {lr = 1e-3, warmup = 1}
erasure = {batch_size = 2, images = 2, steps = 2}
"""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with captions, as the imagefolder convention has it."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    return folder


@pytest.fixture
def concept(tmp_path: Path) -> Path:
    path = tmp_path / "glow.toml"
    path.write_text(CONCEPT)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def bundle(tmp_path: Path, tiny_folder: Path) -> Path:
    """A bundle with a model, engines of a few nodes that draw in an instant, and a policy of no concepts."""
    path = tmp_path / "bundle"
    with write_bundle(path) as draft:
        fill_draft(draft)
        shutil.copytree(tiny_folder, draft.folder / "model")
        draft.update(policy=Policy([]), concepts={})
    return path


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must fail, and returns the one line it says."""

    def call(*arguments: object, code: int = 1) -> str:
        capfd.readouterr()
        found = run([str(argument) for argument in arguments])
        return one_line(capfd.readouterr().err, found, code)

    return call
