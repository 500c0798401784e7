"""Trains a tiny model in one process and in two: `python two_processes.py FOLDER`.

The processes are forked from this one, which has the imports already. Of the two, the one that does not write is
stopped by Ctrl-C on the way, and then both go on. Each leaves beside its bundle what it was told and what it printed.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sys
import tomllib
import warnings
from pathlib import Path

import torch

from pruneguard.cli import run
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle
from pruneguard.training import Advance

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


def launch(folder: Path, out: Path, processes: int) -> None:
    """Forks the processes with the environment that torchrun gives them, and waits for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1], "OMP_NUM_THREADS": 1}
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            if processes > 1:
                numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                os.environ.update({name: str(value) for name, value in {**numbers, **where}.items()})
            work(folder, out, rank)
            os._exit(0)
        children.append(child)
    for _ in children:
        child, status = os.wait()
        if status:  # as a launcher does: the rest would wait for it
            for other in set(children) - {child}:
                os.kill(other, signal.SIGKILL)
        assert status == 0, status


def main(folder: Path) -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["build_tiny_pipeline"]().save(folder / "model")
    (folder / "glow.toml").write_text(CONCEPT)
    (folder / "settings.toml").write_text(SETTINGS)
    launch(folder, folder / "alone", 1)
    launch(folder, folder / "together", 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
