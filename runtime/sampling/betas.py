"""Noise levels and timesteps of discrete schedulers, equal to those of diffusers to the last bit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "trailing", "linspace")


def alphas_cumprod(
    count: int, schedule: str, start: float, end: float, trained: Sequence[float] | None = None
) -> Array:
    """The cumulative products (count,) of 1 - beta: float32 factors multiplied in float64, as PyTorch does.

    `schedule` is one of BETA_SCHEDULES; `trained` replaces it by given betas. The result is read-only.
    """
    if trained is not None:
        betas = np.asarray(trained, dtype=np.float32)
    elif schedule == "linear":
        betas = _linspace(start, end, count)
    elif schedule == "scaled_linear":
        betas = _linspace(start**0.5, end**0.5, count) ** 2
    else:
        betas = _cosine_betas(count)
    alphas: Array = np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)
    alphas.setflags(write=False)
    return alphas


def spaced_timesteps(count: int, steps: int, spacing: str, offset: int) -> NDArray[np.int64]:
    """The rising timesteps (steps,) of a schedule; Lin et al. 2023, arXiv:2305.08891, table 2, has the three spacings.

    Where rounding gives diffusers one timestep too many with `trailing`, a call at t = -1 that ruins the image, it is
    left out.
    """
    if spacing == "linspace":
        return np.linspace(0, count - 1, steps).round().astype(np.int64)
    if spacing == "leading":
        return np.arange(steps, dtype=np.int64) * (count // steps) + offset
    falling = np.arange(count, 0, -count / steps)[:steps]
    return np.round(falling)[::-1].astype(np.int64) - 1


def _linspace(start: float, end: float, count: int) -> Array:
    """As torch.linspace in float32, which counts from both ends with a float32 step and a fused multiply-add."""
    first, last = np.float32(start), np.float32(end)
    step = np.float64((last - first) / np.float32(count - 1))
    index = np.arange(count)
    rising = np.float64(first) + step * index
    falling = np.float64(last) - step * (count - 1 - index)
    return np.where(index < count // 2, rising, falling).astype(np.float32)


def _cosine_betas(count: int, largest: float = 0.999) -> Array:
    """Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17."""

    def level(position: float) -> float:
        return math.cos((position + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - level((i + 1) / count) / level(i / count), largest) for i in range(count)]
    return np.asarray(betas, dtype=np.float32)
