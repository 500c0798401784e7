"""The batch of each lower step: a function of seed and step number alone, so that a resumed run repeats nothing.

A batch is drawn whole and then cut into rows, so the number of processes does not change what a step sees.
Shapes: B rows, C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pruneguard.data.latents import LatentSet
from pruneguard.diffusion.counters import counter_generator, shuffled_rows
from pruneguard.diffusion.process import Diffusion, training_target
from pruneguard.erasure.implicit import SteeredRows, Steering


@dataclass(frozen=True)
class LowerBatch:
    """Rows of the lower level; row i of every tensor belongs together."""

    noisy: Tensor
    """x_t, (B, C, h, w)."""
    timesteps: Tensor
    """(B,) int64."""
    text: Tensor
    """(B, L, D); the empty prompt's states in rows whose caption was dropped."""
    target: Tensor
    """What the DDPM loss asks for, (B, C, h, w)."""
    steered: SteeredRows | None = None
    """Rows whose caption calls up a concept without naming it; None if there are none."""

    def rows(self, start: int, stop: int, device: Any = None) -> LowerBatch:
        """Rows `start` up to `stop`, on `device`."""
        noisy, timesteps, text, target = (
            part[start:stop].to(device) for part in (self.noisy, self.timesteps, self.text, self.target)
        )
        steered = self.steered.within(start, stop, device) if self.steered else None
        return LowerBatch(noisy, timesteps, text, target, steered)


@dataclass(frozen=True)
class LowerBatches:
    """The lower level's batches: forward-noised data with uniform t and caption dropout."""

    data: LatentSet
    diffusion: Diffusion
    empty_text: Tensor
    """(1, L, D)."""
    batch_size: int
    caption_dropout: float
    seed: int
    steering: Steering | None = None
    """Which captions call up a concept without naming it."""

    def batch(self, number: int) -> LowerBatch:
        """The whole batch of lower step `number`, on the CPU."""
        start = number * self.batch_size
        rows = shuffled_rows(len(self.data), start, start + self.batch_size, self.seed, "order")
        generator = counter_generator(self.seed, "lower", number)
        clean, text = self.data.latents(rows), self.data.text(rows)
        noise = torch.randn(clean.shape, generator=generator)
        total = len(self.diffusion.alphas_cumprod)
        timesteps = torch.randint(total, (self.batch_size,), generator=generator)
        dropped = torch.rand(self.batch_size, generator=generator) < self.caption_dropout
        text = torch.where(dropped[:, None, None], self.empty_text, text)
        target = training_target(clean, noise, timesteps, self.diffusion.alphas_cumprod, self.diffusion.prediction_type)
        return LowerBatch(
            self.diffusion.diffuse(clean, noise, timesteps),
            timesteps,
            text,
            target,
            self._steered(rows, dropped.tolist(), number),
        )

    def _steered(self, rows: Sequence[int], dropped: Sequence[bool], number: int) -> SteeredRows | None:
        if self.steering is None:
            return None
        captions = ["" if gone else self.data.caption(row) for row, gone in zip(rows, dropped, strict=True)]
        return self.steering.rows(captions, counter_generator(self.seed, "steered", number))
