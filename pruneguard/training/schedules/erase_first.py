"""Suppress first, distil afterwards: a baseline in which distillation may bring the concept back."""

from __future__ import annotations

from typing import ClassVar

from pruneguard.training.schedules.contract import SCHEDULES, Level
from pruneguard.training.schedules.staged import Staged, StagedSettings


@SCHEDULES.register("erase-first", settings=StagedSettings)
class EraseFirst(Staged):
    """`upper_steps` upper steps of each concept, then all lower steps, both on the same pruned student.

    The paper's baseline of that name (arXiv:2412.15341) differs: it erases from the dense model before pruning.
    """

    first: ClassVar[Level] = "upper"
