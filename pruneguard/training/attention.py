"""Attention for training on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn


class PlainAttention:
    """Scaled dot-product attention as two matrix products and a softmax, for diffusers' `Attention`.

    On a CPU the backward pass of torch's fused kernel takes several times as long for small heads. The outputs agree to
    rounding; engines and saved models never see this class.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (B, N, D) to the same shape; without a context (B, L, D') they attend to themselves."""
        if attention_mask is not None:
            raise ValueError("PlainAttention takes no mask")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.to_q(hidden_states).unflatten(2, (attn.heads, -1)).transpose(1, 2)  # (B, H, N, d)
        key = attn.to_k(context).unflatten(2, (attn.heads, -1)).transpose(1, 2)  # (B, H, L, d)
        value = attn.to_v(context).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        weights = torch.softmax(query * attn.scale @ key.transpose(2, 3), dim=-1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        output: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return output


@contextmanager
def plain_attention(unet: nn.Module) -> Iterator[None]:
    """`PlainAttention` in a stock UNet that lies on a CPU, for as long as the block runs; any other is left alone."""
    processors = dict(getattr(unet, "attn_processors", {}))
    stock = processors and all(type(processor) is AttnProcessor2_0 for processor in processors.values())
    on_cpu = all(parameter.device.type == "cpu" for parameter in unet.parameters())
    if not (stock and on_cpu):
        yield
        return
    unet.set_attn_processor(PlainAttention())  # type: ignore[operator]
    try:
        yield
    finally:
        unet.set_attn_processor(processors)  # type: ignore[operator]
