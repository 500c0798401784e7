"""The penalty method: one step along both gradients at once, with the lower level's weighted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pruneguard.errors import ConfigError
from pruneguard.training.schedules.contract import (
    SCHEDULES,
    Counters,
    Gradient,
    Level,
    Levels,
    Pacing,
    ScheduleSettings,
    Step,
)
from pruneguard.training.schedules.descent import Descent


@dataclass(frozen=True, kw_only=True)
class PenaltySettings(ScheduleSettings):
    """`weight` is lambda. `copy` keeps a copy of the weights that takes `inner` lower steps each event."""

    weight: float = 100.0
    copy: bool = False
    inner: int = 20

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError(f"schedule 'penalty': `weight` is {self.weight}; it must be above 0")
        if self.inner < 1:
            raise ConfigError(f"schedule 'penalty': `inner` is {self.inner}; it must be at least 1")


@SCHEDULES.register("penalty", settings=PenaltySettings)
class Penalty:
    """theta <- theta - alpha [grad f(theta) + lambda grad g(theta)], with f the upper and g the lower level's loss.

    One AdamW, "joint", follows the sum with the lower level's rate. An event is one such step.
    With several concepts, f is the mean of theirs.

    The sum is scaled by min(1 / lambda, 1), as in the code of V-PBGD (arXiv:2302.05185): with lambda above 1 it has the
    size of grad g, so a limit on its norm means what it means for a lower step. AdamW itself ignores the scale.

    The full objective is f(theta) + lambda (g(theta) - g(copy)), with a copy that descends g. The copy's term is
    constant in theta: the copy measures the gap g(theta) - g(copy), and theta takes the same steps without a copy.
    Source: Algorithm 1 of arXiv:2412.15341.
    """

    takes_edits: ClassVar[bool] = False

    def __init__(
        self, parameters: Mapping[Level, Mapping[str, nn.Parameter]], settings: PenaltySettings, pacing: Pacing
    ) -> None:
        """Without upper parameters this is plain fine-tuning; f is then 0."""
        self._turns = pacing.turns
        self._lower = parameters["lower"]
        self._upper = parameters.get("upper", {})
        self._settings = settings
        self._joint = Descent({**self._lower, **self._upper}, pacing.lower, pacing.steps, pacing.max_grad_norm)
        self.optimisers: dict[str, torch.optim.Optimizer] = {"joint": self._joint.optimiser}
        self.events = pacing.steps
        self._copy: dict[str, nn.Parameter] = {}
        if settings.copy:
            self._copy = {name: nn.Parameter(value.detach().clone()) for name, value in self._lower.items()}
            total = pacing.steps * settings.inner
            self._descent = Descent(self._copy, pacing.lower, total, pacing.max_grad_norm)
            self.optimisers["copy"] = self._descent.optimiser

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        """The events from `at` up to the last one."""
        while at.event < self.events:
            self._advance_copy(levels, at.event)
            lower = levels.gradient("lower", at.lower)
            measured = {f"lower/{name}": value for name, value in lower.measured.items()}
            measured |= self._gap(levels, at.lower, lower)
            upper = self._upper_gradient(levels, at.upper)
            measured |= {f"upper/{name}": value for name, value in upper.measured.items()}
            weight = self._settings.weight
            measured["lower/weighted_gradient_norm"] = weight * _norm(lower.tensors)
            measured["upper/gradient_norm"] = _norm(upper.tensors)
            measured["joint/lr"] = self._joint.step(
                at.event, penalised(upper.tensors, lower.tensors, weight, [*self._lower, *self._upper])
            )
            at = at.after("lower", *self._upper_turns())
            yield Step(at, measured)

    def _upper_turns(self) -> list[Level]:
        return ["upper"] * self._turns if self._upper else []

    def _upper_gradient(self, levels: Levels, number: int) -> Gradient:
        """grad f of all concepts: the mean over one upper batch of each, from batch `number` on."""
        parts = [levels.gradient("upper", number + turn) for turn in range(len(self._upper_turns()))]
        if any(part.edited for part in parts):
            raise ConfigError("schedule 'penalty' needs the upper level's gradient, and this eraser edits weights")
        if len(parts) == 1:
            return parts[0]
        names = dict.fromkeys(name for part in parts for name in part.tensors)
        tensors = {
            name: torch.stack([part.tensors[name] for part in parts if name in part.tensors]).sum(0) / len(parts)
            for name in names
        }
        keys = dict.fromkeys(key for part in parts for key in part.measured)
        return Gradient(tensors, {key: sum(part.measured[key] for part in parts) / len(parts) for key in keys})

    def _advance_copy(self, levels: Levels, event: int) -> None:
        """`inner` lower steps of the copy, which goes on from where it was."""
        if not self._copy:
            return
        for number in range(event * self._settings.inner, (event + 1) * self._settings.inner):
            with self._at_copy():
                gradient = levels.gradient("lower", number)
            self._descent.step(number, gradient.tensors)

    def _gap(self, levels: Levels, number: int, lower: Gradient) -> dict[str, float]:
        """g(theta) - g(copy) on one batch, and g(copy); empty without a copy."""
        if not self._copy:
            return {}
        with self._at_copy():
            loss = levels.gradient("lower", number).measured["loss"]
        return {"copy/loss": loss, "gap": lower.measured["loss"] - loss}

    @contextmanager
    def _at_copy(self) -> Iterator[None]:
        """Exchanges the weights and their copy for as long as the block runs; no tensor moves in memory."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self._lower.items():
            parameter.data, self._copy[name].data = self._copy[name].data, parameter.data

    def state_dict(self) -> dict[str, Tensor]:
        """The copy, as `copy.<name>`; empty without one."""
        return {f"copy.{name}": parameter.detach() for name, parameter in self._copy.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the copy. Raises KeyError for a state without one of its tensors."""
        with torch.no_grad():
            for name, parameter in self._copy.items():
                parameter.copy_(state[f"copy.{name}"])


def penalised(
    upper: Mapping[str, Tensor], lower: Mapping[str, Tensor], weight: float, names: list[str]
) -> dict[str, Tensor]:
    """min(1 / weight, 1) (upper + weight lower) by parameter name, in the order of `names`.

    A parameter that only one gradient reaches gets that one; one that neither reaches is left out.
    """
    scale = min(1 / weight, 1.0)
    combined: dict[str, Tensor] = {}
    for name in dict.fromkeys(names):
        parts = [share * source[name] for share, source in ((scale, upper), (scale * weight, lower)) if name in source]
        if parts:
            combined[name] = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    return combined


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(list(tensors.values()))) if tensors else 0.0
