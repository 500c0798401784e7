"""The MACs of a UNet under any plan, by arithmetic.

The cost of every prunable layer is linear in its slots. So one measured pass (`pruneguard.macs`) gives a table from
which the cost of any plan follows exactly, to the last MAC and parameter. Search, report and benchmarks all use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from diffusers import UNet2DConditionModel
from torch import nn

from pruneguard.macs import NO_MACS, Macs, module_macs
from pruneguard.pruning.groups import GroupKey, Layer, consumer, spare_blocks, width_layers
from pruneguard.pruning.plan import PruningPlan

Widths: TypeAlias = Mapping[GroupKey, int]


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """`fixed`: what no plan removes; `blocks`: each block without its slots; `slots`: one slot of each layer."""

    fixed: Macs
    blocks: Mapping[str, Macs]
    slots: Mapping[GroupKey, Macs]
    layers: Mapping[GroupKey, Layer]

    @classmethod
    def measure(cls, unet: UNet2DConditionModel, *, latent_size: int | None = None, text_tokens: int = 77) -> CostTable:
        """Measures one pass on the meta device, batch 1, shapes as in `unet_macs`; `unet` may be pruned already."""
        modules = module_macs(unet, latent_size=latent_size, text_tokens=text_tokens)
        layers = width_layers(unet)
        slots = {key: _slot(unet, key, layer.slots, modules) for key, layer in layers.items()}
        names = dict.fromkeys([*(layer.block for layer in layers.values()), *spare_blocks(unet)])
        blocks = {name: modules[name] for name in names}
        fixed = modules[""] - sum(blocks.values(), NO_MACS)
        for key, layer in layers.items():
            blocks[layer.block] -= slots[key] * layer.slots
        return cls(fixed=fixed, blocks=blocks, slots=slots, layers=layers)

    def dense(self) -> Macs:
        """The cost of the UNet as it was measured."""
        return self.evaluate(PruningPlan())

    def evaluate(self, plan: PruningPlan) -> Macs:
        """The cost of the UNet after `apply_plan`; the plan must be valid for it."""
        kept = {key: len(indices) for key, indices in plan.kept().items()}
        stays = [name for name in self.blocks if name not in plan.removed]
        return sum((self.block(name, kept) for name in stays), self.fixed)

    def block(self, name: str, kept: Widths) -> Macs:
        """The cost of one block with `kept` slots in its layers; a layer that is not in `kept` has all its slots."""
        layers = [layer for layer in self.layers.values() if layer.block == name]
        widths = (self.slots[layer.key] * kept.get(layer.key, layer.slots) for layer in layers)
        return sum(widths, self.blocks[name])


def _slot(unet: UNet2DConditionModel, key: GroupKey, slots: int, modules: Mapping[str, Macs]) -> Macs:
    """The cost of one slot: its share of the layers that write and read its channels, and of attention's products.

    The bias of the reading layer belongs to the block's output and stays. A ResNet's shortcut does not depend on slots.
    """
    module = unet.get_submodule(key.name)
    reader = consumer(unet, key)
    bias = 0 if reader.bias is None else reader.bias.numel()
    whole = modules[key.name] - Macs(0, 0, bias)
    if key.kind == "resnets":
        for apart in ("norm1", "conv_shortcut"):
            if isinstance(getattr(module, apart, None), nn.Module):
                whole -= modules[f"{key.name}.{apart}"]
    return whole // slots
