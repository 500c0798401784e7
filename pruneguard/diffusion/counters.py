"""Random numbers that depend on a counter alone, so that a run can be repeated and resumed."""

from __future__ import annotations

import hashlib

import torch
from torch import Generator


def counter_generator(*counter: int | str) -> Generator:
    """A CPU generator that depends on the counter alone, such as (seed, "lower", step); nothing need be saved."""
    digest = hashlib.sha256("/".join(map(str, counter)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def shuffled_rows(count: int, start: int, stop: int, *counter: int | str) -> list[int]:
    """Entries `start` up to `stop` of an endless stream with each of `count` rows once an epoch, in random order."""
    rows: list[int] = []
    while start < stop:
        epoch, offset = divmod(start, count)
        order = torch.randperm(count, generator=counter_generator(*counter, epoch))
        taken = order[offset : offset + stop - start].tolist()
        rows += taken
        start += len(taken)
    return rows
