"""The lower level's losses as pure functions.

Shapes: predictions and targets (B, C, h, w); t, SNR and weights (B,); every loss is a scalar in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

SNRForm = Literal["official", "diffusers"]


def snr(alphas_cumprod: Tensor, t: Tensor) -> Tensor:
    """Signal-to-noise ratio alpha_t^2 / sigma_t^2 of each row."""
    squared = alphas_cumprod.to(t.device)[t]
    return squared / (1 - squared)


def min_snr_weights(ratio: Tensor, gamma: float, prediction_type: str, form: SNRForm = "official") -> Tensor:
    """Weight of each row's squared error, from its SNR.

    Source: Min-SNR (arXiv:2303.09556), for epsilon min(SNR, gamma) / SNR. For v there are two: `official` is
    min(SNR + 1, gamma) / (SNR + 1), of the code released with arXiv:2412.15341 and of older diffusers; `diffusers` is
    min(SNR, gamma) / (SNR + 1), of Min-SNR's own code and of diffusers now. They differ in where the cap sets in and at
    low SNR, where `official` goes to 1 and `diffusers` to 0.
    """
    if prediction_type == "epsilon":
        return (gamma / ratio).clamp(max=1.0)  # min(SNR, gamma) / SNR, also where SNR is 0
    capped = (ratio + 1).clamp(max=gamma) if form == "official" else ratio.clamp(max=gamma)
    return capped / (ratio + 1)


def ddpm_loss(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared error, averaged over each row, weighted by row, averaged over rows."""
    by_row = (predicted.float() - target.float()).square().flatten(1).mean(1)
    return (by_row if weights is None else weights * by_row).mean()


def output_kd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error between both predictions, with no SNR weight."""
    return F.mse_loss(student.float(), teacher.float())


def feature_kd_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Mean over blocks of the squared error between both models' block outputs.

    Inner widths are pruned and block outputs are not, so shapes agree without projections; depth pruning takes layers
    out of a block and never the block.
    """
    return torch.stack([F.mse_loss(student[name].float(), teacher[name].float()) for name in teacher]).mean()
