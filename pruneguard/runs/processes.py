"""The processes of a run: which one writes, which ones wait, and on which device each computes."""

from __future__ import annotations

from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

_PATIENCE = timedelta(days=7)


def this_process() -> PartialState:
    """This process among those of its launch (`accelerate launch`, `torchrun`); alone it is the main one of one.

    `.device` is where it computes, `.is_main_process` whether it writes, and `.main_process_first()` is for what the
    main process makes in a folder and the others find there.
    """
    # accelerate takes a CPU for part of a group only when told so; otherwise every process would believe it is alone.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    # The others wait while the main process encodes the data, or audits: hours on a large set. The launcher ends them
    # if it dies.
    return PartialState(cpu=cpu, timeout=_PATIENCE)
