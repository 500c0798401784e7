"""Steps of AdamW along gradients that are given by parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruneguard.training.schedules.contract import Level, Levels, Pacing
from pruneguard.training.schedules.rate import LevelSettings, learning_rate


class Descent:
    """One AdamW over named parameters, with the rate of each of its `total` steps and a limit on gradient norms."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], settings: LevelSettings, total: int, max_grad_norm: float | None
    ) -> None:
        self._parameters = parameters
        self._settings = settings
        self._total = total
        self._max_grad_norm = max_grad_norm
        options: dict[str, Any] = {
            "betas": settings.betas,
            "eps": settings.eps,
            "weight_decay": settings.weight_decay,
        }
        self.optimiser = torch.optim.AdamW(list(parameters.items()), lr=settings.lr, **options)

    def step(self, number: int, gradient: Mapping[str, Tensor]) -> float:
        """Takes step `number` (from 0) along a gradient, which may be changed in place; returns the learning rate.

        The norm over all given tensors is clipped. A parameter without a tensor does not move, and its moments stay.
        """
        rate = learning_rate(number, self._total, self._settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        moved = [self._parameters[name] for name in gradient]
        for parameter, tensor in zip(moved, gradient.values(), strict=True):
            parameter.grad = tensor
        if self._max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(moved, self._max_grad_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return rate


class LevelDescents:
    """A descent for each level that has parameters, for schedules in which every step belongs to one level."""

    def __init__(
        self, parameters: Mapping[Level, Mapping[str, nn.Parameter]], pacing: Pacing, totals: Mapping[Level, int]
    ) -> None:
        """`totals` has the number of steps of each level in the whole run, which the rates count."""
        self._descents = {
            level: Descent(chosen, pacing.of(level), totals[level], pacing.max_grad_norm)
            for level, chosen in parameters.items()
            if chosen
        }
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            level: descent.optimiser for level, descent in self._descents.items()
        }

    def __contains__(self, level: Level) -> bool:
        return level in self._descents

    def take(self, levels: Levels, level: Level, number: int) -> dict[str, float]:
        """Step `number` of a level; what was measured, with the level in front of each name."""
        gradient = levels.gradient(level, number)
        measured = dict(gradient.measured)
        if not gradient.edited:
            measured["lr"] = self._descents[level].step(number, gradient.tensors)
        return {f"{level}/{name}": value for name, value in measured.items()}
