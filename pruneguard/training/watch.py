"""Stops a run whose loss is not finite or explodes, before the weights suffer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from pruneguard.errors import TrainingError

_WINDOW = 101
_ENOUGH = 10


class LossWatch:
    """Keeps each level's recent losses, and raises for one that is not finite or far beyond their median."""

    def __init__(self, explosion: float) -> None:
        """`explosion` is the multiple of the running median that is too much."""
        self._explosion = explosion
        self.history: dict[str, list[float]] = {}

    def restore(self, history: Mapping[str, Sequence[float]]) -> None:
        """Goes on from the history of an earlier part of the run."""
        self.history = {level: list(losses) for level, losses in history.items()}

    def check(self, level: str, loss: float, where: str) -> None:
        """Raises TrainingError for a loss that must not reach the weights; `where` ends the message."""
        past = self.history.setdefault(level, [])
        if not math.isfinite(loss):
            raise TrainingError(f"the {level} level's loss is {loss}: lower its learning rate; {where}")
        if len(past) >= _ENOUGH and loss > self._explosion * median(past):
            raise TrainingError(
                f"the {level} level's loss exploded to {loss:.3g}, beyond {self._explosion:g} times its median "
                f"{median(past):.3g}: lower its learning rate; {where}"
            )
        past.append(loss)
        del past[:-_WINDOW]
