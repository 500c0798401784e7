"""The learning rate of a level's steps, and the settings of its optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from pruneguard.errors import ConfigError

Decay = Literal["constant", "cosine"]


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
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"level: `betas` is {self.betas}; both numbers must lie in [0, 1)")
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ConfigError(f"level: `eps` is {self.eps}; it must be above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConfigError(f"level: `weight_decay` is {self.weight_decay}; it must be at least 0")


def learning_rate(step: int, total: int, settings: LevelSettings) -> float:
    """Rate of step `step` (from 0) of `total`: linear warm-up to `lr`, then constant or half a cosine down to 0."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.decay == "constant" or total <= settings.warmup:
        return settings.lr
    done = (step - settings.warmup) / (total - settings.warmup)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))
