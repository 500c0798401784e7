"""Trains a tiny model in one process and in two: `python -m tests.runs.two_processes FOLDER`.

The processes are forked from this one, which has the imports already. Of the two, the one that does not write is
stopped by Ctrl-C on the way, and then both go on. Each leaves beside its bundle what it was told and what it printed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tomllib
import warnings
from functools import partial
from pathlib import Path

import torch

from pruneguard.cli import run
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle
from pruneguard.training import Advance
from tests.models import build_tiny_pipeline
from tests.processes import fork_ranks

torch.set_num_threads(1)
warnings.simplefilter("ignore")
SETTINGS = """
[data]
source = "atelier"
size = 24
[prune]
batches = 2
[training]
steps = 4
batch_size = 4
schedule = {every = 2}
tracker = "none"
lower = {lr = 1e-3, warmup = 1}
upper = {lr = 1e-3, warmup = 1}
erasure = {batch_size = 2, images = 2, steps = 2}
"""
CONCEPT = """
name = "glow"
prompts = ["a disc in glow style"]
anchors = "a disc in flat style"
terms = ["glow"]
"""


def work(folder: Path, out: Path, rank: int) -> None:
    """Trains by the library, and once more by the command, which finds the run finished."""
    model, concept, beside = folder / "model", folder / "glow.toml", f"{out}-{rank}"
    settings = RunSettings.resolve(str(model), tomllib.loads(SETTINGS), concepts=(str(concept),))
    phases: dict[str, int] = {}
    stopped = "never stopped"

    def note(advance: Advance) -> None:
        if rank == 1 and advance.done == 2 and "train" in phases and stopped == "never stopped":
            signal.raise_signal(signal.SIGINT)
        phases[advance.phase] = advance.done

    try:
        train_bundle(settings, out, note)
    except KeyboardInterrupt as stop:
        stopped = str(stop)
        train_bundle(settings, out, note)
    Path(f"{beside}.json").write_text(json.dumps({"phases": phases, "stopped": stopped}))
    with Path(f"{beside}.txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        given = ["--config", str(folder / "settings.toml"), "--concepts", str(concept)]
        code = run(["train", "--model", str(model), *given, "--out", str(out)])
        sys.stdout.flush()
    assert code == 0, code


def main(folder: Path) -> None:
    build_tiny_pipeline().save(folder / "model")
    (folder / "glow.toml").write_text(CONCEPT)
    (folder / "settings.toml").write_text(SETTINGS)
    for name, processes in (("alone", 1), ("together", 2)):
        fork_ranks(partial(work, folder, folder / name), processes, OMP_NUM_THREADS="1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
