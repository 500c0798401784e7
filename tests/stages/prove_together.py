"""Proves a tiny model in two processes, of which one has a detector: `python -m tests.stages.prove_together FOLDER`."""

from __future__ import annotations

import copy
import json
import sys
import warnings
from functools import partial
from pathlib import Path

import torch

from pruneguard.families.atelier.data import from_atelier
from pruneguard.runs.digest import fingerprint
from pruneguard.runs.progress import silent
from pruneguard.stages.proof import Validation, train_until_proved
from pruneguard.stages.settings import RunSettings
from tests.models import build_tiny_pipeline
from tests.processes import fork_ranks
from tests.stages.test_proof import GLOW, PROMPTS, Scripted
from tests.stages.test_train import TABLES

torch.set_num_threads(1)
warnings.simplefilter("ignore")


def work(folder: Path, rank: int) -> None:
    """Proves, and leaves the rounds that it took and the fingerprint of its weights."""
    audit = {"target": 8, "steps": 2, "limit": 0.35, "batch_size": 8}
    tables = {**TABLES, "audit": audit, "proof": {"rounds": 2, "share": 0.5, "target": 8, "other": 0}}
    settings = RunSettings.resolve(str(folder / "model"), tables)
    teacher = build_tiny_pipeline()
    detectors = {"glow": Scripted(bad=1)} if rank == 0 else {}
    validation = Validation({"glow": PROMPTS}, detectors, {})
    data, student = from_atelier(teacher, 16), copy.deepcopy(teacher.unet)
    proved = train_until_proved(teacher, student, data, [GLOW], settings, validation, folder / "run", silent)
    found = {"rounds": proved.rounds, "steps": proved.steps, "weights": fingerprint(proved.result.unet)}
    (folder / f"{rank}.json").write_text(json.dumps(found))


def main(folder: Path) -> None:
    build_tiny_pipeline().save(folder / "model")
    fork_ranks(partial(work, folder), 2, OMP_NUM_THREADS="1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
