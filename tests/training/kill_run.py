"""Trains a tiny student once in peace and once under fire: `python -m tests.training.kill_run VARIANT FOLDER KILLS`.

Each attempt is a fork, so that the imports and the models are paid once; most are killed at a random moment.
"""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pruneguard.concepts import Concept
from pruneguard.families.atelier.data import from_atelier
from pruneguard.training import TrainSettings, train
from tests.models import build_tiny_pipeline
from tests.processes import moments

torch.set_num_threads(1)
warnings.simplefilter("ignore")
TEACHER = build_tiny_pipeline()
DATA = from_atelier(TEACHER, 8, seed=0)
GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc in flat style",), terms=("glow",))
IN_A_ROW = 5
"""Kills of one run before it may finish."""
BASE: dict[str, Any] = {
    "steps": 6,
    "batch_size": 2,
    "schedule": {"every": 2},
    "tracker": "none",
    "checkpoint_every": 1,
    "lower": {"lr": 1e-3, "warmup": 2},
    "upper": {"lr": 1e-3, "warmup": 1},
    "erasure": {"batch_size": 2, "images": 2, "steps": 2},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "alternating": {},
    "salun": {"erasure": {"eraser": {"name": "salun", "of": "esd", "batches": 2}}},
    "two-stage": {"schedule": {"name": "two-stage", "upper_steps": 3}},
    "erase-first": {"schedule": {"name": "erase-first", "upper_steps": 3}},
    "penalty": {"steps": 4, "schedule": {"name": "penalty", "weight": 10.0}},
    "penalty-copy": {"steps": 3, "schedule": {"name": "penalty", "copy": True, "inner": 2}},
    "uce": {"erasure": {"eraser": "uce"}},
}


def attempt(settings: TrainSettings, folder: Path) -> int:
    """The process that trains in `folder`, from the start or from what it finds there."""
    child = os.fork()
    if child == 0:
        train(TEACHER, copy.deepcopy(TEACHER.unet), DATA, [GLOW], settings, folder)
        os._exit(0)
    return child


def finish(settings: TrainSettings, folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint of a run that is left alone: weights, moments and states."""
    _, status = os.waitpid(attempt(settings, folder), 0)
    assert status == 0, status
    last = max((folder / "checkpoints").glob("step-*"))
    return {
        f"{path.stem}.{name}": tensor for path in last.glob("*.safetensors") for name, tensor in load_file(path).items()
    }


def main(variant: str, folder: Path, kills: int) -> None:
    settings = TrainSettings.from_dict(VARIANTS[variant], base=TrainSettings.from_dict(BASE))
    started = time.perf_counter()
    whole = finish(settings, folder / "whole")
    chosen = moments(time.perf_counter() - started, kills)
    killed, in_a_row, finished = 0, 0, 0
    while killed < kills:
        run = folder / f"killed-{finished}"
        child = attempt(settings, run)
        time.sleep(next(chosen))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0, status
        killed += os.WIFSIGNALED(status)
        in_a_row += 1
        for checkpoint in (run / "checkpoints").glob("step-*"):
            load_file(checkpoint / "weights.safetensors")
            assert (checkpoint / "state.json").stat().st_size
        if not os.WIFSIGNALED(status) or in_a_row == IN_A_ROW:  # judge this run, and start another
            check(finish(settings, run), whole)
            finished, in_a_row = finished + 1, 0
    check(finish(settings, folder / f"killed-{finished}"), whole)
    print(f"killed {killed}, equal")


def check(after: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    assert set(after) == set(whole)
    unequal = [name for name in whole if not torch.equal(whole[name], after[name])]
    assert not unequal, unequal


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
