"""SalUn: train only the weights that matter most to the loss of another eraser (Fan et al. 2024, arXiv:2310.12508)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pruneguard.erasure.contract import ERASERS, UpperStep
from pruneguard.erasure.task import ErasureTask
from pruneguard.errors import ConfigError
from pruneguard.settings import Choice

_MASK, _INNER = "mask.", "inner."
"""Prefixes of the entries of a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class SalUnSettings:
    """Which eraser's gradient is masked, and how much of it stays."""

    of: str = "esd"
    """The eraser whose loss is trained."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """That eraser's own options."""
    share: float = 0.5
    """Share of its weights that may change: those with the largest gradient."""
    batches: int = 8
    """Batches of each concept whose gradients are summed for the mask."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"eraser 'salun': `share` is {self.share}; it must be above 0 and at most 1")
        if self.batches < 1:
            raise ConfigError(f"eraser 'salun': `batches` is {self.batches}; it must be at least 1")
        if self.of == "salun":
            raise ConfigError("eraser 'salun': `of` is 'salun' itself; choose the eraser to mask, such as 'esd'")
        if ERASERS.find(self.of).build.edits:
            raise ConfigError(
                f"eraser 'salun': {self.of!r} edits weights and has no gradient to mask; set `of` to an eraser that "
                "gives a loss, such as 'esd'"
            )
        ERASERS.settings(Choice(self.of, self.options))


def saliency_masks(gradients: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Bool masks, in the gradients' shapes, of the `share` of all elements with the largest absolute values.

    One threshold serves all tensors. Exactly round(share * elements) are kept, and at least one: of elements at the
    threshold those that come first stay. Source: equation 4 of the paper, m = 1(|gradient| >= threshold).
    """
    sizes = {name: gradient.abs() for name, gradient in gradients.items()}
    pooled = torch.cat([size.flatten() for size in sizes.values()])
    kept = max(1, round(share * len(pooled)))
    threshold = pooled.kthvalue(len(pooled) - kept + 1).values
    ties = kept - int((pooled > threshold).sum())
    masks = {}
    for name, size in sizes.items():
        tied = (size == threshold).flatten()
        first = tied & (tied.cumsum(0) <= ties)
        masks[name] = (size > threshold) | first.view_as(size)
        ties -= int(first.sum())
    return masks


@ERASERS.register("salun", settings=SalUnSettings)
class SalUn:
    """The erasure of another eraser whose upper gradient is masked by the saliency at the first upper step."""

    edits: ClassVar[bool] = False

    def __init__(self, task: ErasureTask, settings: SalUnSettings) -> None:
        options = ERASERS.settings(Choice(settings.of, settings.options))
        self._inner = ERASERS.find(settings.of).build(task, options)
        self._student = task.student
        self._settings = settings
        self._batches = settings.batches * len(task.concepts)  # each batch is of one concept
        self._masks: dict[str, Tensor] = {}

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights of the masked eraser, by name."""
        return self._inner.parameters

    def upper(self, unet: nn.Module, step: UpperStep) -> Tensor | None:
        """The loss of the masked eraser. The first call of a run computes the masks from the student as it is then."""
        if not self._masks:
            with torch.autocast(step.device.type if step.device else "cpu", enabled=False):
                self._masks = saliency_masks(self._gradients(step), self._settings.share)
            _align(self._masks)
        return self._inner.upper(unet, step)

    def constrain(self, gradients: dict[str, Tensor]) -> None:
        """Sets the upper gradient to 0 where the masks do not keep it."""
        self._inner.constrain(gradients)
        for name, gradient in gradients.items():
            gradient.mul_(self._masks[name].to(gradient.device))

    def state_dict(self) -> dict[str, Tensor]:
        """The masks once they are computed, and the state of the masked eraser."""
        inner = {_INNER + name: tensor for name, tensor in self._inner.state_dict().items()}
        return {_MASK + name: mask for name, mask in self._masks.items()} | inner

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores masks bit for bit; they are never computed again."""
        self._masks = _entries(state, _MASK)
        self._inner.load_state_dict(_entries(state, _INNER))

    def _gradients(self, step: UpperStep) -> dict[str, Tensor]:
        """Gradients of the masked eraser's loss, summed over the batches of the first upper steps, by name.

        Every process reads whole batches, in the parts of a training step, so that all have the same masks and none
        needs more memory than a training step. The student is the module itself: no process waits for another.
        """
        parameters = dict(self._inner.parameters)
        total = {name: torch.zeros_like(parameter, dtype=torch.float32) for name, parameter in parameters.items()}
        for number in range(self._batches):
            for part in range(step.parts):
                share = UpperStep(number=number, part=part, parts=step.parts, device=step.device)
                loss = self._inner.upper(self._student, share)
                assert loss is not None  # the settings refuse an eraser that edits
                found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                for name, gradient in zip(parameters, found, strict=True):
                    if gradient is not None:
                        total[name] += gradient
        return total


def _align(masks: Mapping[str, Tensor]) -> None:
    """Gives every process the main one's masks: equal code on unequal machines may differ in the last bits."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for mask in masks.values():
            torch.distributed.broadcast(mask.view(torch.uint8), src=0)


def _entries(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
