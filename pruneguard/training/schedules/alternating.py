"""Alternating steps: some lower ones, then an upper one of each concept, over the whole run."""

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
    """`every` lower steps go with one upper step of each concept; the paper has 20, its released code 10."""

    every: int = 20

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"schedule 'alternating': `every` is {self.every}; it must be at least 1")

    @property
    def least_steps(self) -> int:
        """After `every` lower steps each concept has had an upper one."""
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
    """`every` lower steps for one upper step of each concept, each level with an AdamW of its own.

    The upper steps of several concepts lie evenly between the lower ones. An event is a lower step and the upper steps
    that are due after it.
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
        self._every, self._turns = settings.every, pacing.turns
        upper = pacing.steps * pacing.turns // settings.every
        self._descents = LevelDescents(parameters, pacing, {"lower": pacing.steps, "upper": upper})
        self.optimisers = self._descents.optimisers
        self.events = pacing.steps

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        """The events from `at` up to the last one."""
        while at.event < self.events:
            measured = self._descents.take(levels, "lower", at.lower)
            taken: list[Level] = ["lower"]
            for number in range(at.upper, self._due(at.lower + 1)):
                measured |= self._descents.take(levels, "upper", number)
                taken.append("upper")
            at = at.after(*taken)
            yield Step(at, measured)

    def _due(self, lower: int) -> int:
        """How many upper steps go with so many lower ones."""
        return lower * self._turns // self._every if "upper" in self._descents else 0

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing beyond the optimisers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """There is nothing to restore."""
