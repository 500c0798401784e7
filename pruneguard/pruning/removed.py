"""Modules without weights that replace removed blocks and are called in the same way."""

from __future__ import annotations

from typing import Any

from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn


class RemovedResnet(nn.Module):
    """Returns the first `out_channels` of its input (B, in_channels, h, w): in an up block the part before the skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None) -> Tensor:
        if self.in_channels == self.out_channels:
            return input_tensor
        return input_tensor[:, : self.out_channels]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"


class RemovedTransformer(nn.Module):
    """Returns its input; accepts all arguments of a `Transformer2DModel`."""

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *, return_dict: bool = True, **_: Any
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        return Transformer2DModelOutput(sample=hidden_states) if return_dict else (hidden_states,)
