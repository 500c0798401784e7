"""Erasers that are a loss: the erasure draws a batch, the registered function gives the loss of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pruneguard.erasure.contract import ERASERS, ConceptBatch, Denoiser, UpperStep
from pruneguard.erasure.implicit import implicit_loss
from pruneguard.erasure.task import ErasureTask
from pruneguard.registry import NoSettings

UpperLoss = Callable[[Denoiser, Denoiser, ConceptBatch, Any], Tensor]
"""`loss(student, teacher, batch, settings) -> scalar`; gradients flow to the student only."""


class GradientErasure:
    """An erasure by a loss on batches of concept latents; it changes the task's parameter sets and has no state."""

    def __init__(self, task: ErasureTask, settings: Any, loss: UpperLoss) -> None:
        """The teacher draws the concepts' latents here, unless they were drawn before."""
        self.parameters: Mapping[str, nn.Parameter] = task.unet_parameters
        self._teacher = task.teacher.unet
        self._batches = task.batches
        self._settings = settings
        self._strength = task.settings.implicit.strength
        self._loss = loss
        self._drawn: tuple[int, ConceptBatch] | None = None

    def upper(self, unet: nn.Module, step: UpperStep) -> Tensor | None:
        """The loss of this part's rows, a scalar: the eraser's own, and that of the implicit prompts."""
        batch = step.share(self.batch(step.number))
        unnamed = int(batch.implicit.sum())
        if not unnamed:
            return self._loss(unet, self._teacher, batch, self._settings)
        loss = implicit_loss(unet, self._teacher, batch.where(batch.implicit), self._strength) * unnamed
        if unnamed < len(batch.noisy):
            named = batch.where(~batch.implicit)
            loss = loss + self._loss(unet, self._teacher, named, self._settings) * len(named.noisy)
        return loss / len(batch.noisy)

    def batch(self, number: int) -> ConceptBatch:
        """The whole batch of an upper step; the parts of one step share it."""
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, self._batches.batch(number)
        return self._drawn[1]

    def constrain(self, gradients: dict[str, Tensor]) -> None:
        """Leaves the gradients as they are."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: every step depends on its number alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """There is nothing to restore."""


@dataclass(frozen=True)
class GradientEraser:
    """An eraser that is nothing but a loss."""

    loss: UpperLoss
    edits: bool = False

    def __call__(self, task: ErasureTask, settings: Any, /) -> GradientErasure:
        return GradientErasure(task, settings, self.loss)


def gradient_eraser(name: str, *, settings: type[Any] = NoSettings) -> Callable[[UpperLoss], UpperLoss]:
    """A decorator that registers a loss as the eraser of that name; the function itself stays as it is."""

    def register(loss: UpperLoss) -> UpperLoss:
        ERASERS.register(name, settings=settings)(GradientEraser(loss))
        return loss

    return register
