"""How both levels are combined: a schedule owns optimisers and the order of steps, and knows no concepts or files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

import torch
from torch import nn

from pruneguard.errors import ConfigError

Level = Literal["lower", "upper"]
Decay = Literal["constant", "cosine"]

Gradients = Callable[[Level, int], dict[str, float]]
"""`gradients(level, n)` fills `.grad` for step n of that level, from 0, and returns what it measured."""


@dataclass(frozen=True, kw_only=True)
class LevelSettings:
    """AdamW for one level; `warmup` and `decay` count the level's own steps."""

    lr: float = 1e-6
    warmup: int = 250
    decay: Decay = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"level: `lr` is {self.lr}; it must be above 0")
        if self.warmup < 0:
            raise ConfigError(f"level: `warmup` is {self.warmup}; it must be at least 0")
        if self.decay not in get_args(Decay):
            raise ConfigError(f"level: `decay` is {self.decay!r}; choose from {', '.join(get_args(Decay))}")
        if len(self.betas) != 2 or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"level: `betas` is {self.betas}; it must be two numbers in [0, 1)")
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ConfigError(f"level: `eps` is {self.eps}; it must be above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConfigError(f"level: `weight_decay` is {self.weight_decay}; it must be at least 0")


@dataclass(frozen=True)
class Step:
    """A lower step, and the upper step that followed it if one was due; both done."""

    number: int
    """Lower steps done."""
    upper_steps: int
    measured: Mapping[str, float]
    """What `gradients` measured, with the level as prefix: `lower/loss`, `upper/loss`, `lower/lr`, ..."""


class Schedule(Protocol):
    """The contract: `optimisers` is what a checkpoint must hold; `run` yields after each lower step."""

    optimisers: dict[Level, torch.optim.Optimizer]

    def run(self, gradients: Gradients, start: int) -> Iterator[Step]: ...


ScheduleFactory = Callable[..., Schedule]
Factory = TypeVar("Factory", bound=ScheduleFactory)
_SCHEDULES: dict[str, ScheduleFactory] = {}


def schedule(name: str) -> Callable[[Factory], Factory]:
    """Registers a schedule: called with parameters and settings by level, `every` and `steps`."""

    def register(factory: Factory) -> Factory:
        if name in _SCHEDULES:
            raise ValueError(f"a schedule named {name!r} is registered already")
        _SCHEDULES[name] = factory
        return factory

    return register


def find_schedule(name: str) -> ScheduleFactory:
    """The schedule of that name; ConfigError names all of them for one that is not there."""
    if name not in _SCHEDULES:
        raise ConfigError(f"no schedule {name!r}; choose from {', '.join(sorted(_SCHEDULES))}")
    return _SCHEDULES[name]


def learning_rate(step: int, total: int, settings: LevelSettings) -> float:
    """Rate of step `step` (from 0) of `total`: linear warm-up to `lr`, then constant or half a cosine down to 0."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.decay == "constant" or total <= settings.warmup:
        return settings.lr
    done = (step - settings.warmup) / (total - settings.warmup)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))


@schedule("alternating")
class Alternating:
    """`every` lower steps, then one upper step, each with an AdamW of its own.

    Source: the released code of "Efficient Fine-Tuning and Concept Suppression for Pruned Diffusion Models"
    (arXiv:2412.15341), which has no penalty term and no copy of the weights.
    """

    def __init__(
        self,
        parameters: Mapping[Level, Sequence[nn.Parameter]],
        settings: Mapping[Level, LevelSettings],
        *,
        every: int,
        steps: int,
    ) -> None:
        """Without upper parameters this is plain fine-tuning."""
        self._settings = settings
        self._every = every
        self._totals: dict[Level, int] = {"lower": steps, "upper": steps // every}
        self._steps = steps
        self.optimisers: dict[Level, torch.optim.Optimizer] = {
            level: _adamw(chosen, settings[level]) for level, chosen in parameters.items() if chosen
        }

    def run(self, gradients: Gradients, start: int) -> Iterator[Step]:
        """Steps `start` up to the last; what is done up to `start` must be in weights and optimisers already."""
        for number in range(start, self._steps):
            measured = self._take("lower", number, gradients)
            if "upper" in self.optimisers and (number + 1) % self._every == 0:
                measured |= self._take("upper", number // self._every, gradients)
            upper_steps = (number + 1) // self._every if "upper" in self.optimisers else 0
            yield Step(number + 1, upper_steps, measured)

    def _take(self, level: Level, number: int, gradients: Gradients) -> dict[str, float]:
        optimiser = self.optimisers[level]
        rate = learning_rate(number, self._totals[level], self._settings[level])
        for group in optimiser.param_groups:
            group["lr"] = rate
        # Each level fills its own gradients; the other's must not linger in them.
        for every_optimiser in self.optimisers.values():
            every_optimiser.zero_grad(set_to_none=True)
        measured = gradients(level, number)
        optimiser.step()
        return {f"{level}/{name}": value for name, value in {**measured, "lr": rate}.items()}


def _adamw(parameters: Sequence[nn.Parameter], settings: LevelSettings) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"betas": settings.betas, "eps": settings.eps, "weight_decay": settings.weight_decay}
    return torch.optim.AdamW(list(parameters), lr=settings.lr, **options)
