"""Alternating steps: some lower ones, then an upper one, over the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from pruneguard.errors import ConfigError
from pruneguard.training.schedules.contract import SCHEDULES, Counters, Level, Levels, Pacing, ScheduleSettings, Step
from pruneguard.training.schedules.descent import LevelDescents


@dataclass(frozen=True, kw_only=True)
class AlternatingSettings(ScheduleSettings):
    """`every` lower steps go before each upper step; the paper has 20, its released code 10."""

    every: int = 20

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"schedule 'alternating': `every` is {self.every}; it must be at least 1")

    @property
    def least_steps(self) -> int:
        """The first upper step comes after `every` lower ones."""
        return self.every

    def check(self, steps: int) -> None:
        """Raises ConfigError for a run that ends before its first upper step."""
        if self.least_steps > steps:
            raise ConfigError(
                f"schedule 'alternating': `every` {self.every} is above `steps` {steps}: no upper step would run; "
                "raise steps"
            )


@SCHEDULES.register("alternating", settings=AlternatingSettings)
class Alternating:
    """`every` lower steps, then one upper step, each level with an AdamW of its own.

    An event is a lower step and, where one is due, the upper step after it.
    Source: the released code of "Efficient Fine-Tuning and Concept Suppression for Pruned Diffusion Models"
    (arXiv:2412.15341), which has no penalty term and no copy of the weights.
    """

    takes_edits: ClassVar[bool] = True

    def __init__(
        self,
        parameters: Mapping[Level, Mapping[str, nn.Parameter]],
        settings: AlternatingSettings,
        pacing: Pacing,
    ) -> None:
        """Without upper parameters this is plain fine-tuning."""
        self._every = settings.every
        self._descents = LevelDescents(
            parameters, pacing, {"lower": pacing.steps, "upper": pacing.steps // settings.every}
        )
        self.optimisers = self._descents.optimisers
        self.events = pacing.steps

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        """The events from `at` up to the last one."""
        while at.event < self.events:
            measured = self._descents.take(levels, "lower", at.lower)
            if "upper" in self._descents and (at.lower + 1) % self._every == 0:
                measured |= self._descents.take(levels, "upper", at.upper)
                at = at.after("lower", "upper")
            else:
                at = at.after("lower")
            yield Step(at, measured)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing beyond the optimisers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """There is nothing to restore."""
