"""Trains a tiny student once in peace and once under fire: `python kill_run.py FOLDER KILLS`.

Each attempt is a fork, so that the imports are paid once; most are killed at a random moment.
"""

from __future__ import annotations

import copy
import os
import random
import runpy
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file

from pruneguard.concepts import Concept
from pruneguard.families.atelier.data import from_atelier
from pruneguard.training import TrainSettings, train

torch.set_num_threads(1)
warnings.simplefilter("ignore")
TEACHER = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))["build_tiny_pipeline"]()
DATA = from_atelier(TEACHER, 8, seed=0)
GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc in flat style",), terms=("glow",))
SETTINGS = TrainSettings.from_dict(
    {
        "steps": 6,
        "batch_size": 2,
        "schedule": {"every": 2},
        "tracker": "none",
        "checkpoint_every": 1,
        "lower": {"lr": 1e-3, "warmup": 2},
        "upper": {"lr": 1e-3, "warmup": 1},
        "erasure": {"batch_size": 2, "images": 2, "steps": 2},
    }
)


def attempt(folder: Path) -> int:
    """The process that trains in `folder`, from the start or from what it finds there."""
    child = os.fork()
    if child == 0:
        train(TEACHER, copy.deepcopy(TEACHER.unet), DATA, [GLOW], SETTINGS, folder)
        os._exit(0)
    return child


def finish(folder: Path) -> dict[str, torch.Tensor]:
    """The last weights of a run that is left alone."""
    _, status = os.waitpid(attempt(folder), 0)
    assert status == 0, status
    return load_file(folder / "checkpoints" / "step-00000006" / "weights.safetensors")


def main(folder: Path, kills: int) -> None:
    whole = finish(folder / "warm-up")
    started = time.perf_counter()
    finish(folder / "timed")
    seconds = time.perf_counter() - started
    moments, killed, finished = random.Random(0), 0, 0
    while killed < kills:
        run = folder / f"killed-{finished}"
        child = attempt(run)
        time.sleep(moments.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        for checkpoint in (run / "checkpoints").glob("step-*"):
            load_file(checkpoint / "weights.safetensors")
            assert (checkpoint / "state.json").stat().st_size
        if not os.WIFSIGNALED(status):  # it was done before the kill: judge it, and start another
            assert status == 0, status
            check(finish(run), whole)
            finished += 1
    check(finish(folder / f"killed-{finished}"), whole)
    print(f"killed {killed}, equal")


def check(after: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(whole[name], after[name]) for name in whole)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
