"""The contract between a schedule and the two levels, and the registry of schedules.

A schedule owns its settings, its optimisers and the order of events. It asks the levels for gradients by parameter name
and knows neither concepts nor files. Its position is three counters, so a run resumes anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from pruneguard.registry import Registry
from pruneguard.training.schedules.rate import LevelSettings

Level = Literal["lower", "upper"]


@dataclass(frozen=True)
class Counters:
    """How far a run has come: events of the schedule, and steps of each level."""

    event: int = 0
    lower: int = 0
    upper: int = 0

    def after(self, *levels: Level) -> Counters:
        """The counters after one more event that took a step of each of these levels, in which one may come twice."""
        lower, upper = self.lower + levels.count("lower"), self.upper + levels.count("upper")
        return replace(self, event=self.event + 1, lower=lower, upper=upper)


@dataclass(frozen=True)
class Gradient:
    """The gradient of one step of one level, averaged over processes and accumulation, not clipped."""

    tensors: Mapping[str, Tensor]
    """By parameter name, each of its parameter's shape; a parameter that the loss does not reach is left out."""
    measured: Mapping[str, float]
    """`loss` and its terms."""
    edited: bool = False
    """The step changed the weights itself: there are no tensors, and nothing is left to do."""


class Levels(Protocol):
    """What a schedule optimises."""

    @property
    def parameters(self) -> Mapping[Level, Mapping[str, nn.Parameter]]:
        """By level and name; `upper` is absent without concepts."""
        ...

    def gradient(self, level: Level, number: int) -> Gradient:
        """The gradient of step `number` (from 0) of a level at the parameters' present values.

        No `.grad` is left behind. Raises TrainingError before anything that is not finite can reach the weights.
        """
        ...


@dataclass(frozen=True)
class Step:
    """One event of a schedule, done."""

    at: Counters
    """The counters after it."""
    measured: Mapping[str, float]
    """What was measured, with the level or the optimiser in front: `lower/loss`, `upper/loss`, `lower/lr`, ..."""


@dataclass(frozen=True)
class Pacing:
    """What a run tells every schedule: how many lower steps, at which rates, and where gradients are clipped."""

    steps: int
    lower: LevelSettings = field(default_factory=LevelSettings)
    upper: LevelSettings = field(default_factory=LevelSettings)
    max_grad_norm: float | None = None
    turns: int = 1
    """Upper batches that reach every concept once: a schedule takes so many for each of a single concept."""

    def of(self, level: Level) -> LevelSettings:
        """The settings of a level's optimiser."""
        return self.lower if level == "lower" else self.upper


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The base of a schedule's own settings."""

    @property
    def least_steps(self) -> int:
        """The least number of lower steps with which a run takes an upper step."""
        return 1

    def check(self, steps: int) -> None:
        """Raises ConfigError for settings with which a run of `steps` lower steps would take no upper step."""

    def shortened(self, share: float) -> Self:
        """The settings of a run of that share of the lower steps; numbers that do not follow these shrink as well."""
        return self


class Schedule(Protocol):
    """The order of events of one run."""

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """By name, each over named parameters; a checkpoint holds their moments by optimiser and parameter name."""
        ...

    @property
    def events(self) -> int:
        """How many events the whole run has."""
        ...

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        """The events from `at` up to the last one.

        Weights, optimisers and state must be as they were after the events before `at`.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """State beyond the optimisers, such as a copy of the weights. A checkpoint holds it."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` gave."""
        ...


class ScheduleType(Protocol):
    """What is registered: a class that builds a schedule from the levels' parameters, its settings and the pacing.

    `takes_edits` tells before anything is built whether upper steps may be edits, which have no gradient. A class
    declares it as `takes_edits: ClassVar[bool]`.
    """

    @property
    def takes_edits(self) -> bool: ...

    def __call__(
        self, parameters: Mapping[Level, Mapping[str, nn.Parameter]], settings: Any, pacing: Pacing, /
    ) -> Schedule: ...


SCHEDULES: Registry[ScheduleType] = Registry("schedule", packages=("pruneguard.training.schedules",))
