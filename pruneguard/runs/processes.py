"""The processes of a run: which one writes, which ones wait, and on which device each computes."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env

from pruneguard.errors import ConfigError

TIMEOUT = "PRUNEGUARD_TIMEOUT_HOURS"
"""Environment variable: hours that a process of several waits for the others before it gives up."""
_DEFAULT_HOURS = 24.0

T = TypeVar("T")


def this_process() -> PartialState:
    """This process among those of its launch (`accelerate launch`, `torchrun`); alone it is the main one of one.

    `.device` is where it computes, `.is_main_process` whether it writes, and `.main_process_first()` is for what the
    main process makes in a folder and the others find there. Raises ConfigError for a time-out that is no number.
    """
    # accelerate takes a CPU for part of a group only when told so; otherwise every process would believe it is alone.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=cpu, timeout=collective_timeout())


def from_main_process(value: T) -> T:
    """The main process's value, in every process; all must ask for it at the same place."""
    this_process()
    told: T = broadcast_object_list([value])[0]
    return told


def collective_timeout() -> timedelta:
    """How long a process waits for the others: 24 hours, or what PRUNEGUARD_TIMEOUT_HOURS says.

    The others wait while the main process encodes the data, draws, prunes or audits; this takes hours on a large set.
    A launcher ends all processes when one dies, so the time-out only ends a group in which one hangs.
    """
    given = os.environ.get(TIMEOUT, "")
    try:
        hours = float(given) if given else _DEFAULT_HOURS
    except ValueError:
        hours = math.nan
    if not (math.isfinite(hours) and 0 < hours <= 24 * 365):
        raise ConfigError(f"{TIMEOUT} is {given!r}; it must be a number of hours above 0, and at most a year")
    return timedelta(hours=hours)
