"""Gradients of the two levels: L_ft of the lower one, the eraser's loss of the upper one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruneguard.diffusion.process import Diffusion
from pruneguard.diffusion.snr import min_snr_weights, snr
from pruneguard.erasure.contract import ConceptBatch, Eraser
from pruneguard.errors import ConfigError, TrainingError
from pruneguard.training.batches import LowerBatch, LowerBatches, UpperBatches
from pruneguard.training.features import forward_with_features
from pruneguard.training.losses import ddpm_loss, feature_kd_loss, output_kd_loss
from pruneguard.training.schedules.alternating import Level
from pruneguard.training.settings import LossSettings, TrainSettings
from pruneguard.training.watch import LossWatch


def lower_terms(
    student: nn.Module, teacher: nn.Module, batch: LowerBatch, diffusion: Diffusion, settings: LossSettings
) -> dict[str, Tensor]:
    """The terms of L_ft that have a weight, unweighted: `ddpm`, `output_kd`, `feature_kd`. The teacher runs once."""
    terms: dict[str, Tensor] = {}
    predicted, features = forward_with_features(student, batch.noisy, batch.timesteps, batch.text)
    if settings.ddpm:
        weights = None
        if settings.min_snr_gamma:
            ratio = snr(diffusion.alphas_cumprod, batch.timesteps)
            weights = min_snr_weights(ratio, settings.min_snr_gamma, diffusion.prediction_type, settings.min_snr_form)
        terms["ddpm"] = ddpm_loss(predicted, batch.target, weights)
    if settings.output_kd or settings.feature_kd:
        with torch.no_grad():
            wanted, wanted_features = forward_with_features(teacher, batch.noisy, batch.timesteps, batch.text)
        if settings.output_kd:
            terms["output_kd"] = output_kd_loss(predicted, wanted)
        if settings.feature_kd:
            terms["feature_kd"] = feature_kd_loss(features, wanted_features)
    return terms


@dataclass(frozen=True)
class Suppression:
    """What the upper level needs: an eraser with its settings, batches, and the weights it may change."""

    eraser: Eraser
    settings: Any
    batches: UpperBatches
    parameters: Sequence[nn.Parameter]


class LevelGradients:
    """Fills `.grad` for a step of either level; it is what a schedule calls."""

    def __init__(
        self,
        accelerator: Any,
        student: nn.Module,
        teacher: nn.Module,
        lower: LowerBatches,
        suppression: Suppression | None,
        settings: TrainSettings,
        watch: LossWatch,
        advice: Callable[[], str],
    ) -> None:
        """`student` may be wrapped for distribution; `advice()` ends the message of an error."""
        self._accelerator = accelerator
        self._student = student
        self._teacher = teacher
        self._lower = lower
        self._suppression = suppression
        self._settings = settings
        self._watch = watch
        self._advice = advice
        self._parameters: dict[Level, list[nn.Parameter]] = {
            "lower": list(student.parameters()),
            "upper": list(suppression.parameters) if suppression else [],
        }

    def __call__(self, level: Level, number: int) -> dict[str, float]:
        """Gradients of step `number` of that level; returns its loss and terms, averaged over processes.

        Raises TrainingError before anything that is not finite can reach the weights.
        """
        batch = self._batch(level, number)
        measured: dict[str, float] = {}
        parts = self._settings.accumulation
        for part in range(parts):
            start, stop = self._rows(level, part)
            rows = batch.rows(start, stop, self._accelerator.device)
            last = part == parts - 1
            with nullcontext() if last else self._accelerator.no_sync(self._student):
                with self._accelerator.autocast():
                    terms = self._terms(rows)
                loss = terms["loss"] / parts
                for name, term in terms.items():
                    measured[name] = measured.get(name, 0.0) + self._mean(term) / parts
                if last:
                    self._watch.check(level, measured["loss"], self._advice())
                self._accelerator.backward(loss, **self._only(level))
        self._limit(level)
        return measured

    def _batch(self, level: Level, number: int) -> LowerBatch | ConceptBatch:
        if level == "lower":
            return self._lower.batch(number)
        assert self._suppression is not None
        return self._suppression.batches.batch(number)

    def _terms(self, batch: LowerBatch | ConceptBatch) -> dict[str, Tensor]:
        """The level's `loss` and, at the lower level, the terms that it sums."""
        if isinstance(batch, LowerBatch):
            losses = self._settings.losses
            terms = lower_terms(self._student, self._teacher, batch, self._lower.diffusion, losses)
            weighted = [getattr(losses, name) * term for name, term in terms.items()]
            return {"loss": torch.stack(weighted).sum(), **terms}
        assert self._suppression is not None
        upper_loss = self._suppression.eraser.upper_loss
        return {"loss": upper_loss(self._student, self._teacher, batch, self._suppression.settings)}

    def _rows(self, level: Level, part: int) -> tuple[int, int]:
        """Rows of this process's share of a batch that belong to one part of the accumulation."""
        size = self._settings.batch_size if level == "lower" else self._settings.erasure.batch_size
        rows = size // (self._accelerator.num_processes * self._settings.accumulation)
        start = (self._accelerator.process_index * self._settings.accumulation + part) * rows
        return start, start + rows

    def _only(self, level: Level) -> dict[str, Any]:
        # Weights that the level does not change need no gradient; distributed training waits for all of them.
        return {"inputs": self._parameters[level]} if self._accelerator.num_processes == 1 else {}

    def _mean(self, term: Tensor) -> float:
        if self._accelerator.num_processes == 1:
            return float(term.detach())
        return float(self._accelerator.reduce(term.detach(), reduction="mean"))

    def _limit(self, level: Level) -> None:
        """Clips the gradients' norm if the settings say so; TrainingError if it is not finite."""
        gradients = [parameter.grad for parameter in self._parameters[level] if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"the {level} level's gradients are not finite: lower its learning rate; {self._advice()}"
            )
        if self._settings.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters[level], self._settings.max_grad_norm, norm)


def check_rows(settings: TrainSettings, processes: int) -> None:
    """ConfigError for a batch that does not divide among processes and accumulation."""
    parts = processes * settings.accumulation
    for name, size in (("batch_size", settings.batch_size), ("erasure.batch_size", settings.erasure.batch_size)):
        if size % parts:
            raise ConfigError(
                f"`{name}` {size} does not divide among {processes} processes with accumulation "
                f"{settings.accumulation}; make it a multiple of {parts}"
            )
