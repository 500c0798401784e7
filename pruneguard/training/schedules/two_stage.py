"""Distil first, suppress afterwards: the usual baseline, whose second stage undoes part of the first."""

from __future__ import annotations

from typing import ClassVar

from pruneguard.training.schedules.contract import SCHEDULES, Level
from pruneguard.training.schedules.staged import Staged, StagedSettings


@SCHEDULES.register("two-stage", settings=StagedSettings)
class TwoStage(Staged):
    """All lower steps, then `upper_steps` upper steps of each concept on the distilled student.

    Source: the baselines of arXiv:2412.15341, which erase from a pruned model that was fine-tuned before.
    """

    first: ClassVar[Level] = "lower"
