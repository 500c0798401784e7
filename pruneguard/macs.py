"""MACs and parameters of a UNet, by one stated convention.

One MAC is one multiply-accumulate of a convolution, a linear layer or one of attention's two matrix products. Biases,
norms, activations and softmax are not counted. The batch is 1 and there is no factor for classifier-free guidance: an
image with guidance costs `MACs x UNet calls x 2`. PyTorch's `FlopCounterMode` counts two FLOPs for each MAC. It sees
attention on the meta device but not in the CPU's fused kernel, so all MACs are measured on the meta device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruneguard.errors import ConfigError


@dataclass(frozen=True)
class Macs:
    """`total` MACs, MACs `without_attention` (without attention's two matrix products), and number of parameters."""

    total: int
    without_attention: int
    parameters: int

    def __add__(self, other: Macs) -> Macs:
        return Macs(
            self.total + other.total,
            self.without_attention + other.without_attention,
            self.parameters + other.parameters,
        )

    def __sub__(self, other: Macs) -> Macs:
        return self + other * -1

    def __mul__(self, times: int) -> Macs:
        return Macs(self.total * times, self.without_attention * times, self.parameters * times)

    def __floordiv__(self, parts: int) -> Macs:
        return Macs(self.total // parts, self.without_attention // parts, self.parameters // parts)


NO_MACS = Macs(0, 0, 0)


def unet_macs(unet: UNet2DConditionModel, *, latent_size: int | None = None, text_tokens: int = 77) -> Macs:
    """MACs of one UNet call on latents (1, C, latent_size, latent_size) and text states (1, text_tokens, D).

    `latent_size` defaults to the configuration's `sample_size`. Raises ConfigError if neither is given.
    """
    return module_macs(unet, latent_size=latent_size, text_tokens=text_tokens)[""]


def module_macs(
    unet: UNet2DConditionModel, *, latent_size: int | None = None, text_tokens: int = 77
) -> Mapping[str, Macs]:
    """As `unet_macs`, for every module by its dotted name; "" is the whole UNet. A module's Macs include its children.

    The call runs on meta tensors; the weights are neither copied nor changed.
    """
    counter = _count(unet, _inputs(unet, _latent_size(unet, latent_size), text_tokens))
    modules = dict(unet.named_modules())
    totals = {name: counter.get(name, 0) // 2 for name in modules}
    attention = {
        name: totals[name] - sum(totals[f"{name}.{child}"] for child, _ in _leaves(module))
        for name, module in modules.items()
        if isinstance(module, Attention)
    }
    return {
        name: Macs(
            totals[name],
            totals[name] - sum(core for inner, core in attention.items() if _inside(inner, name)),
            sum(parameter.numel() for parameter in module.parameters()),
        )
        for name, module in modules.items()
    }


def _leaves(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_modules() if not any(child.children()) and name]


def _inside(name: str, parent: str) -> bool:
    return not parent or name == parent or name.startswith(parent + ".")


def _latent_size(unet: UNet2DConditionModel, latent_size: int | None) -> int:
    size = unet.config.sample_size if latent_size is None else latent_size
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"latent_size: the UNet's configuration gives {size!r}; give a positive integer")
    return size


def _inputs(unet: UNet2DConditionModel, latent_size: int, text_tokens: int) -> tuple[torch.Tensor, ...]:
    if text_tokens < 1:
        raise ConfigError(f"text_tokens must be a positive integer, got {text_tokens}")
    width = unet.config.encoder_hid_dim or unet.config.cross_attention_dim
    if not isinstance(width, int):
        raise ConfigError(f"cross_attention_dim {width!r}: only UNets with one text width are counted")
    meta: dict[str, Any] = {"device": "meta", "dtype": unet.dtype}
    return (
        torch.empty(1, unet.config.in_channels, latent_size, latent_size, **meta),
        torch.empty((), device="meta", dtype=torch.int64),
        torch.empty(1, text_tokens, width, **meta),
    )


def _count(unet: UNet2DConditionModel, inputs: tuple[torch.Tensor, ...]) -> dict[str, int]:
    """FLOPs by dotted module name, "" for the whole UNet."""
    tensors = [*unet.named_parameters(), *unet.named_buffers()]
    meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        torch.func.functional_call(unet, meta, inputs, {"return_dict": False})
    counts: dict[str, int] = {}
    for name, by_operator in counter.get_flop_counts().items():
        # The counter names the whole "Global" and a module "<class of the root>.<dotted name>".
        root, _, inner = name.partition(".")
        if root == type(unet).__name__ or name == "Global":
            counts[inner] = max(counts.get(inner, 0), sum(by_operator.values()))
    return counts
