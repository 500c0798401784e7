"""The two levels of a run: gradients of L_ft, and upper steps of an erasure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruneguard.erasure.contract import Erasure, UpperStep
from pruneguard.errors import ConfigError, TrainingError
from pruneguard.training.batches import LowerBatch
from pruneguard.training.objective import LowerObjective
from pruneguard.training.schedules.contract import Gradient, Level
from pruneguard.training.settings import TrainSettings
from pruneguard.training.watch import LossWatch

_MOST_UPPER = 1000
"""More upper steps than any run takes for one lower step: those of a later run begin beyond the earlier run's."""


class LevelGradients:
    """The `Levels` of a run. Every process takes its rows of each batch; gradients are averaged over all of them."""

    def __init__(
        self,
        accelerator: Any,
        student: nn.Module,
        objective: LowerObjective,
        erasure: Erasure | None,
        settings: TrainSettings,
        watch: LossWatch,
        advice: Callable[[], str],
    ) -> None:
        """Without an erasure there is no upper level. `advice()` ends the message of an error.

        The weights of all processes are made equal to the main one's.
        """
        self._accelerator = accelerator
        self._student = student
        self._objective = objective
        self._erasure = erasure
        self._settings = settings
        self._watch = watch
        self._advice = advice
        self.parameters: dict[Level, Mapping[str, nn.Parameter]] = {
            "lower": {f"unet.{name}": parameter for name, parameter in student.named_parameters()}
        }
        if erasure:
            self.parameters["upper"] = erasure.parameters
        for chosen in self.parameters.values():
            self._align(chosen)

    def gradient(self, level: Level, number: int) -> Gradient:
        """The gradient of step `number` of a level, with its loss and terms averaged over processes.

        Batches count on from the steps that an earlier run took. Raises TrainingError before anything that is not
        finite can reach the weights.
        """
        number += self._settings.begun * (1 if level == "lower" else _MOST_UPPER)
        chosen = self.parameters[level]
        parts = self._settings.accumulation
        measured: dict[str, float] = {}
        sums: list[Tensor | None] = [None] * len(chosen)
        batch = self._objective.batches.batch(number) if level == "lower" else None
        for part in range(parts):
            with self._accelerator.autocast():
                terms = self._lower(batch, part) if batch else self._upper(number, part)
            if terms is None:
                self._align(chosen)
                return Gradient({}, {}, edited=True)
            for name, term in terms.items():
                measured[name] = measured.get(name, 0.0) + self._mean(term) / parts
            if part == parts - 1:
                self._watch.check(level, measured["loss"], self._advice())
            found = torch.autograd.grad(terms["loss"] / parts, list(chosen.values()), allow_unused=True)
            sums = [_sum(before, tensor) for before, tensor in zip(sums, found, strict=True)]
        tensors = {
            name: self._averaged(tensor) for name, tensor in zip(chosen, sums, strict=True) if tensor is not None
        }
        if level == "upper" and self._erasure:
            self._erasure.constrain(tensors)
        self._check(level, tensors)
        return Gradient(tensors, measured)

    def _lower(self, batch: LowerBatch, part: int) -> dict[str, Tensor]:
        """L_ft and its terms on this process's rows that belong to one part of the accumulation."""
        parts, index = self._shares(part)
        rows = len(batch.noisy) // parts
        return self._objective.terms(
            self._student, batch.rows(index * rows, (index + 1) * rows, self._accelerator.device)
        )

    def _upper(self, number: int, part: int) -> dict[str, Tensor] | None:
        """The erasure's loss on the same share of its batch; None after an edit."""
        assert self._erasure is not None
        parts, index = self._shares(part)
        loss = self._erasure.upper(self._student, UpperStep(number, index, parts, self._accelerator.device))
        return None if loss is None else {"loss": loss}

    def _shares(self, part: int) -> tuple[int, int]:
        """Into how many shares a batch is cut, and which one belongs to this process and part of the accumulation."""
        accumulation = self._settings.accumulation
        return accumulation * self._accelerator.num_processes, self._accelerator.process_index * accumulation + part

    def _mean(self, term: Tensor) -> float:
        return float(self._averaged(term.detach()))

    def _averaged(self, tensor: Tensor) -> Tensor:
        if self._accelerator.num_processes == 1:
            return tensor
        averaged: Tensor = self._accelerator.reduce(tensor, reduction="mean")
        return averaged

    def _align(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Gives every process the main one's values: equal code on unequal machines may differ in the last bits."""
        if self._accelerator.num_processes > 1:
            for parameter in parameters.values():
                torch.distributed.broadcast(parameter.data, src=0)

    def _check(self, level: Level, tensors: Mapping[str, Tensor]) -> None:
        if tensors and not torch.isfinite(torch.nn.utils.get_total_norm(list(tensors.values()))):
            raise TrainingError(
                f"the {level} level's gradients are not finite: lower its learning rate; {self._advice()}"
            )


def _sum(before: Tensor | None, tensor: Tensor | None) -> Tensor | None:
    if before is None or tensor is None:
        return tensor if before is None else before
    return before.add_(tensor)


def check_rows(settings: TrainSettings, processes: int) -> None:
    """Raises ConfigError for a batch that does not divide among processes and accumulation."""
    parts = processes * settings.accumulation
    for name, size in (("batch_size", settings.batch_size), ("erasure.batch_size", settings.erasure.batch_size)):
        if size % parts:
            raise ConfigError(
                f"`{name}` {size} does not divide among {processes} processes with accumulation "
                f"{settings.accumulation}; make it a multiple of {parts}"
            )
