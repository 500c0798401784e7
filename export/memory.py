"""The working memory of a component's call, computed on the meta device, where tensors have sizes and no content."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pruneguard.measurement import Measurement, Protocol
from pruneguard.runtime.sampling.memory import Demand, Footprint

from .components import Decoding, Prediction

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

SMALLEST, LARGEST = 8, 512
"""Latent sides between which the demand of a call is interpolated. Nothing is computed, so any size costs the same."""
CONVOLUTION, ATTENTION = 3.5, 1.5
"""What ONNX Runtime needs at most for each byte of tensors: it was measured at 2.3 to 2.9 where convolutions prevail,
because it copies their inputs and outputs into blocks of channels, and at 1.1 where attention does."""


def footprint_of(pipeline: Pipeline) -> Footprint:
    """What the UNet and the VAE decoder of a pipeline need for a call in float32 by ONNX Runtime on a CPU, at most.

    A row of n latent elements, height by width, needs P(n) bytes: the most of what convolutions need, which grows with
    n, and of what attention needs, which grows with n^2. So P(n) / n is convex, and the straight line through it at the
    smallest and the largest size is an upper bound in between, of at most about twice the value.
    """
    width, tokens = int(pipeline.unet.config.cross_attention_dim), pipeline.text_tokens
    text = torch.empty(1, tokens, width, device="meta")
    return Footprint(
        unet=demand_of(Prediction(pipeline.unet), pipeline.latent_channels, torch.empty(1, device="meta"), text),
        vae_decoder=demand_of(Decoding(pipeline.vae), pipeline.latent_channels),
    )


def demand_of(module: nn.Module, channels: int, *others: Tensor) -> Demand:
    """The demand of a module that takes latents of `channels` channels and `others`, which are on the meta device."""
    sizes = [side * side for side in (SMALLEST, LARGEST)]
    small, large = (
        peak_bytes(module, torch.empty(1, channels, side, side, device="meta"), *others) / (side * side)
        for side in (SMALLEST, LARGEST)
    )
    slope = max(0.0, (large - small) / (sizes[1] - sizes[0]))
    return Demand(
        linear=round(CONVOLUTION * max(0.0, small - slope * sizes[0]), 3), quadratic=round(ATTENTION * slope, 6)
    )


def peak_bytes(module: nn.Module, *inputs: Tensor) -> int:
    """The most bytes of tensors that exist at once while the module computes, without weights and inputs.

    `inputs` are on the meta device. Attention holds its whole matrix of weights, as an exported graph does.
    """
    weights = {name: torch.empty_like(tensor, device="meta") for name, tensor in module.state_dict().items()}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Live([*weights.values(), *inputs]) as live:
        torch.func.functional_call(module, weights, inputs)
    peak: int = live.peak
    return peak


def memory_measurements(footprint: Footprint) -> list[Measurement]:
    """The footprint as an engine's record keeps it; `Footprint.read` reads it."""
    protocol = Protocol(settings={"smallest latent side": SMALLEST, "largest latent side": LARGEST})
    named = footprint.named().items()
    return [Measurement(name=name, value=value, unit="bytes", protocol=protocol) for name, value in named]


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operators make, until Python drops them; those of `given` do not count."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._given = [tensor.untyped_storage() for tensor in given]  # a view of them is no new memory
        self._known: dict[int, Any] = {id(storage): storage for storage in self._given}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return found

    def _add(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def drop(_: Any) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, drop)
        self.now += size
        self.peak = max(self.peak, self.now)
