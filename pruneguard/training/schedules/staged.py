"""What schedules share that finish one level before they begin the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from torch import Tensor, nn

from pruneguard.errors import ConfigError
from pruneguard.training.schedules.contract import Counters, Level, Levels, Pacing, ScheduleSettings, Step
from pruneguard.training.schedules.descent import LevelDescents


@dataclass(frozen=True, kw_only=True)
class StagedSettings(ScheduleSettings):
    """How many upper steps each concept has; ESD's own script for Stable Diffusion takes 200."""

    upper_steps: int = 200

    def __post_init__(self) -> None:
        if self.upper_steps < 1:
            raise ConfigError(f"schedule: `upper_steps` is {self.upper_steps}; it must be at least 1")

    def shortened(self, share: float) -> Self:
        """As large a share of the upper steps."""
        return replace(self, upper_steps=max(1, round(share * self.upper_steps)))


class Staged:
    """All steps of the level `first`, then all of the other, each level with an AdamW of its own.

    An event is one step of one level.
    """

    takes_edits: ClassVar[bool] = True
    first: ClassVar[Level]

    def __init__(
        self, parameters: Mapping[Level, Mapping[str, nn.Parameter]], settings: StagedSettings, pacing: Pacing
    ) -> None:
        """Without upper parameters there are lower steps only."""
        totals: dict[Level, int] = {"lower": pacing.steps, "upper": settings.upper_steps * pacing.turns}
        self._descents = LevelDescents(parameters, pacing, totals)
        self.optimisers = self._descents.optimisers
        self._totals = {level: total for level, total in totals.items() if level in self._descents}
        self.events = sum(self._totals.values())

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        """The events from `at` up to the last one."""
        second: Level = "upper" if self.first == "lower" else "lower"
        while at.event < self.events:
            done = {"lower": at.lower, "upper": at.upper}
            level = self.first if done[self.first] < self._totals.get(self.first, 0) else second
            measured = self._descents.take(levels, level, done[level])
            at = at.after(level)
            yield Step(at, measured)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing beyond the optimisers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """There is nothing to restore."""
