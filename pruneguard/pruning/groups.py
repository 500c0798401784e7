"""The prunable parts of a stock diffusers UNet: layers with slots, and blocks that can be removed as a whole.

A slot is a norm group of a ResNet's inner channels, an attention head, or a feed-forward neuron. Removing slots does
not change the width of a block's output, so skip connections and all shapes between blocks stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

Kind = Literal["resnets", "heads", "neurons", "blocks"]
NEURONS_TOGETHER = 8
"""Neurons are removed in multiples of eight, because engines are fastest at matrix products of such widths."""


class GroupKey(NamedTuple):
    """A layer with slots, or for the kind `blocks` a whole ResNet or transformer; `name` is its dotted module name."""

    kind: Kind
    name: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A prunable layer: its number of slots, how many are removed together, and the block that it belongs to."""

    key: GroupKey
    block: str
    slots: int
    together: int = 1


def consumer(unet: UNet2DConditionModel, key: GroupKey) -> nn.Conv2d | nn.Linear:
    """The only layer that reads the slots' channels.

    A gate on a slot multiplies its input columns in this layer, so zeroing these columns masks the slot.
    """
    module = unet.get_submodule(key.name)
    reader = {"resnets": "conv2", "heads": "to_out.0", "neurons": "net.2"}[key.kind]
    found = module.get_submodule(reader)
    assert isinstance(found, (nn.Conv2d, nn.Linear))
    return found


def width_layers(unet: UNet2DConditionModel) -> dict[GroupKey, Layer]:
    """All layers with slots, in the order of the UNet's blocks."""
    layers: list[Layer] = []
    for name, block in _blocks(unet):
        if isinstance(block, ResnetBlock2D) and block.time_embedding_norm == "default":
            layers.append(Layer(key=GroupKey("resnets", name), block=name, slots=block.norm2.num_groups))
        elif isinstance(block, Transformer2DModel):
            layers.extend(_transformer_layers(name, block))
    return {layer.key: layer for layer in layers}


def spare_blocks(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """Names of the ResNets and transformers that can be removed as a whole, as far as shapes are concerned.

    A removed transformer returns its input. A removed ResNet returns its input as well; in an up block it returns the
    input without the skip connection. That part must be as wide as the ResNet's output.
    """
    skips = _skip_widths(unet)
    spare = []
    for name, block in _blocks(unet):
        if isinstance(block, Transformer2DModel):
            if block.is_input_continuous and block.in_channels == block.out_channels:
                spare.append(name)
            continue
        skip = skips.pop() if name.startswith("up_blocks.") else 0
        if isinstance(block, ResnetBlock2D) and block.in_channels - skip == block.out_channels and _keeps_size(block):
            spare.append(name)
    return tuple(spare)


def _keeps_size(resnet: ResnetBlock2D) -> bool:
    return not resnet.up and not resnet.down and float(resnet.output_scale_factor) == 1.0


def _blocks(unet: UNet2DConditionModel) -> Iterator[tuple[str, nn.Module]]:
    """All entries of the stages' `resnets` and `attentions`, including those that were removed before."""
    stages = [(f"down_blocks.{i}", stage) for i, stage in enumerate(unet.down_blocks)]
    stages += [("mid_block", unet.mid_block)] if unet.mid_block is not None else []
    stages += [(f"up_blocks.{i}", stage) for i, stage in enumerate(unet.up_blocks)]
    for prefix, stage in stages:
        for part in ("resnets", "attentions"):
            for i, block in enumerate(getattr(stage, part, None) or ()):
                if part == "resnets" or isinstance(block, Transformer2DModel):
                    yield f"{prefix}.{part}.{i}", block


def _skip_widths(unet: UNet2DConditionModel) -> list[int]:
    """Channels of the skip connections, in the order in which the down path produces them."""
    widths = [int(unet.conv_in.out_channels)]
    for stage in unet.down_blocks:
        widths += [int(resnet.out_channels) for resnet in stage.resnets]
        widths += [widths[-1]] * len(getattr(stage, "downsamplers", None) or ())
    return widths


def _transformer_layers(name: str, transformer: Transformer2DModel) -> Iterator[Layer]:
    for i, block in enumerate(transformer.transformer_blocks):
        for part in ("attn1", "attn2"):
            attention = getattr(block, part, None)
            if isinstance(attention, Attention) and _plain(attention):
                key = GroupKey("heads", f"{name}.transformer_blocks.{i}.{part}")
                yield Layer(key=key, block=name, slots=int(attention.heads))
        feed_forward = getattr(block, "ff", None)
        if isinstance(feed_forward, FeedForward) and isinstance(feed_forward.net[0], GEGLU):
            key = GroupKey("neurons", f"{name}.transformer_blocks.{i}.ff")
            neurons = int(feed_forward.net[2].in_features)
            yield Layer(key=key, block=name, slots=neurons, together=NEURONS_TOGETHER)


def _plain(attention: Attention) -> bool:
    """Whether the heads have separate rows of q, k and v and columns of the output, and share nothing."""
    extras = (attention.norm_q, attention.norm_k, attention.add_k_proj, attention.to_add_out)
    return all(extra is None for extra in extras) and attention.inner_dim == attention.inner_kv_dim


def columns(slots: Sequence[int], width: int, of: int) -> torch.Tensor:
    """Channel indices, int64 (len(slots) * width / of,), of `slots` among `of` equal slots of `width` channels."""
    each = width // of
    return (torch.tensor(list(slots), dtype=torch.int64)[:, None] * each + torch.arange(each)).flatten()
