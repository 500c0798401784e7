"""An eraser that trains the text encoder: the concept's prompts get the states that the teacher has for the anchors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruneguard.erasure import ERASERS, ErasureTask, UpperStep
from pruneguard.registry import NoSettings


class TextEraser:
    """Trains the weights and biases of the feed-forward layers; a mask keeps the biases, and `losses` are its state."""

    edits: ClassVar[bool] = False

    def __init__(self, task: ErasureTask, settings: NoSettings) -> None:
        (concept,) = task.concepts
        encoder = task.text_encoder
        self.parameters: Mapping[str, nn.Parameter] = {
            f"text_encoder.{name}": parameter for name, parameter in encoder.named_parameters() if ".mlp." in name
        }
        self._encoder = encoder
        self._tokens = task.teacher.tokenizer(
            list(concept.prompts), padding="max_length", max_length=task.teacher.text_tokens, return_tensors="pt"
        ).input_ids
        self._wanted = task.teacher.encode_text(concept.anchors)
        self.losses = torch.zeros(0)

    def upper(self, unet: nn.Module, step: UpperStep) -> Tensor | None:
        rows = slice(step.part, None, step.parts)  # two prompts, so two parts have one each
        loss = F.mse_loss(self._encoder(self._tokens[rows])[0], self._wanted[rows])
        self.losses = torch.cat([self.losses, loss.detach()[None]])
        return loss

    def constrain(self, gradients: dict[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            if name.endswith("bias"):
                gradient.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        return {"losses": self.losses}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.losses = state["losses"].clone()


@contextmanager
def text_eraser() -> Iterator[None]:
    """Registers the eraser as "text" for as long as the block runs."""
    ERASERS.register("text")(TextEraser)
    try:
        yield
    finally:
        ERASERS.remove("text")
