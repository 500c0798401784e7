"""The contract of an erasure, and the registry of erasers.

An eraser is a registered method; an erasure is what it builds for one set of concepts. An erasure either gives a loss
whose gradient a schedule follows, or edits the weights itself. It does not know when its steps run: that is the
schedule's business.
Shapes: B rows, C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from pruneguard.registry import Registry

if TYPE_CHECKING:
    from pruneguard.erasure.task import ErasureTask

Denoiser = Callable[..., Any]
"""A UNet as diffusers calls it: `unet(x, t, encoder_hidden_states=..., return_dict=False) -> (Tensor,)`."""


@dataclass(frozen=True)
class ConceptBatch:
    """What an upper step works on; row i of every tensor belongs together."""

    noisy: Tensor
    """x_t, (B, C, h, w)."""
    timesteps: Tensor
    """t of each row, (B,) int64."""
    text: Tensor
    """States of prompts that ask for the concept, (B, L, D)."""
    anchor_text: Tensor
    """States of the prompts to map them to, (B, L, D)."""
    empty_text: Tensor
    """States of the empty prompt, (1, L, D)."""
    named_text: Tensor
    """States of prompts that name the concept, (B, L, D); those of `text` itself unless the row is implicit."""
    implicit: Tensor
    """Whether `text` calls up the concept without naming it, (B,) bool. Such a row has no anchor."""

    def rows(self, start: int, stop: int, device: Any = None) -> ConceptBatch:
        """Rows `start` up to `stop`, on `device`."""
        return self._chosen(slice(start, stop), device)

    def where(self, rows: Tensor) -> ConceptBatch:
        """The rows for which `rows` (B,) is True."""
        return self._chosen(rows, None)

    def _chosen(self, chosen: Any, device: Any) -> ConceptBatch:
        return ConceptBatch(
            self.noisy[chosen].to(device),
            self.timesteps[chosen].to(device),
            self.text[chosen].to(device),
            self.anchor_text[chosen].to(device),
            self.empty_text.to(device),
            self.named_text[chosen].to(device),
            self.implicit[chosen].to(device),
        )


@dataclass(frozen=True)
class UpperStep:
    """One part of one upper step: a step is divided among processes and, with accumulation, into several parts."""

    number: int
    """Upper steps that were done before this one."""
    part: int = 0
    """Which of the `parts` equal shares of a batch belongs to this call."""
    parts: int = 1
    device: torch.device | None = None
    """Where the models lie; None keeps tensors where they are."""

    def share(self, batch: ConceptBatch) -> ConceptBatch:
        """The rows of a whole batch that belong to this part, on `device`."""
        rows = len(batch.noisy) // self.parts
        return batch.rows(self.part * rows, (self.part + 1) * rows, self.device)


class Erasure(Protocol):
    """The suppression of one set of concepts in one run. It is built once and lives as long as the run."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What the upper level may change, by name: `unet.<name>` or `text_encoder.<name>`."""
        ...

    def upper(self, unet: nn.Module, step: UpperStep) -> Tensor | None:
        """A scalar loss of one part of an upper step, or None after an edit of the weights in place.

        The loss is a mean over the part's rows; the caller averages over parts and takes the gradient. An edit is one
        whole step: it is called for one part only, on every process, and must depend on the step's number alone.
        """
        ...

    def constrain(self, gradients: dict[str, Tensor]) -> None:
        """Changes the upper gradient in place, such as by masks, before a schedule sees it; by parameter name."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """State that lives across steps, such as masks. A checkpoint holds it."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state_dict` gave."""
        ...


class Eraser(Protocol):
    """What is registered: a class, or another callable, that builds an erasure from a task and the eraser's settings.

    `edits` tells before anything is built whether `upper` edits the weights and gives no loss. A class declares it as
    `edits: ClassVar[bool]`. An edit reaches all concepts; losses take turns, so a run of n concepts asks for n times as
    many.
    """

    @property
    def edits(self) -> bool: ...

    def __call__(self, task: ErasureTask, settings: Any, /) -> Erasure: ...


ERASERS: Registry[Eraser] = Registry("eraser", packages=("pruneguard.erasure.methods",))
