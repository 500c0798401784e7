"""The forward process, and the counter-based random numbers that make a run repeatable.

Shapes: x_0, noise, x_t (B, C, h, w); t (B,) int64; alphas_cumprod (T,) float32, the product of 1 - beta up to each t.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor


def _scales(alphas_cumprod: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t, each (B, 1, 1, 1), with alpha_t^2 + sigma_t^2 = 1."""
    squared = alphas_cumprod.to(t.device)[t].view(-1, 1, 1, 1)
    return squared.sqrt(), (1 - squared).sqrt()


def add_noise(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = alpha_t x_0 + sigma_t noise. Source: DDPM (arXiv:2006.11239) eq. 4."""
    alpha, sigma = _scales(alphas_cumprod, t)
    return alpha * x_0 + sigma * noise


def velocity(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """v = alpha_t noise - sigma_t x_0. Source: Progressive Distillation (arXiv:2202.00512) appendix D."""
    alpha, sigma = _scales(alphas_cumprod, t)
    return alpha * noise - sigma * x_0


def training_target(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor, prediction_type: str) -> Tensor:
    """What a network of that prediction type (`epsilon` or `v_prediction`) must give for x_t."""
    return noise if prediction_type == "epsilon" else velocity(x_0, noise, t, alphas_cumprod)


def counter_generator(*counter: int | str) -> Generator:
    """A CPU generator that depends on the counter alone, such as (seed, "lower", step); nothing need be saved."""
    digest = hashlib.sha256("/".join(map(str, counter)).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def shuffled_rows(count: int, start: int, stop: int, *counter: int | str) -> list[int]:
    """Entries `start` up to `stop` of an endless stream with each of `count` rows once an epoch, in random order."""
    rows: list[int] = []
    while start < stop:
        epoch, offset = divmod(start, count)
        order = torch.randperm(count, generator=counter_generator(*counter, epoch))
        taken = order[offset : offset + stop - start].tolist()
        rows += taken
        start += len(taken)
    return rows
