"""Writes the upper gradient of an erasure that trains the text encoder, in one process and in two.

`python -m tests.training.average_gradients FOLDER`. The processes are forked from this one, which has the imports
already. In the two, the one that is not the main one begins with other weights.
"""

from __future__ import annotations

import copy
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from pruneguard.concepts import Concept
from pruneguard.erasure import ERASERS, ErasureSettings, ErasureTask
from pruneguard.families.atelier.data import from_atelier
from pruneguard.registry import NoSettings
from pruneguard.runs.processes import this_process
from pruneguard.settings import Choice
from pruneguard.training import TrainSettings
from pruneguard.training.batches import LowerBatches
from pruneguard.training.levels import LevelGradients
from pruneguard.training.objective import LowerObjective, diffusion_of
from pruneguard.training.watch import LossWatch
from tests.erasure.text_eraser import text_eraser
from tests.models import build_tiny_pipeline
from tests.processes import fork_ranks

torch.set_num_threads(1)
warnings.simplefilter("ignore")
GLOW = Concept(
    name="glow", prompts=("glow style", "a ring in glow style"), anchors=("a disc", "a ring"), terms=("glow",)
)


def work(out: Path, rank: int) -> None:
    """One process: both levels' gradients of step 0 under the names of their levels."""
    this_process()
    teacher = build_tiny_pipeline()
    data, diffusion = from_atelier(teacher, 4, seed=0), diffusion_of(teacher)
    settings = TrainSettings(batch_size=4, erasure=ErasureSettings(eraser=Choice("text"), batch_size=2))
    student = copy.deepcopy(teacher.unet)
    task = ErasureTask(student, teacher, (GLOW,), data, diffusion, settings.erasure, 0, out)
    erasure = ERASERS.find("text").build(task, NoSettings())
    if rank:
        with torch.no_grad():
            for parameter in (*student.parameters(), *erasure.parameters.values()):
                parameter.add_(1)
    batches = LowerBatches(data, diffusion, task.empty_text, 4, 0.0, 0)
    levels = LevelGradients(
        Accelerator(),
        student,
        LowerObjective(teacher.unet, batches, settings.losses),
        erasure,
        settings,
        LossWatch(1e3),
        lambda: "",
    )
    lower, upper = levels.gradient("lower", 0), levels.gradient("upper", 0)
    losses = {f"{name}/loss": torch.tensor(one.measured["loss"]) for name, one in (("lower", lower), ("upper", upper))}
    save_file({**lower.tensors, **upper.tensors, **losses}, f"{out}-{rank}.safetensors")
    assert all(parameter.grad is None for parameter in student.parameters())


if __name__ == "__main__":
    with text_eraser():
        for name, processes in (("alone", 1), ("together", 2)):
            fork_ranks(partial(work, Path(sys.argv[1]) / name), processes, ACCELERATE_USE_CPU="true")
