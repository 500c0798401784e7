"""The lower level's losses as pure functions.

Shapes: predictions and targets (B, C, h, w); t, SNR and weights (B,); every loss is a scalar in float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def ddpm_loss(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared error, averaged over each row, weighted by row, averaged over rows."""
    by_row = (predicted.float() - target.float()).square().flatten(1).mean(1)
    return (by_row if weights is None else weights * by_row).mean()


def output_kd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared error between both predictions, with no SNR weight."""
    return F.mse_loss(student.float(), teacher.float())


def feature_kd_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Mean over blocks of the squared error between both models' block outputs.

    Pruning narrows layers inside blocks and removes layers from blocks, and never changes the shape of a block's
    output, so no projections are needed.
    """
    return torch.stack([F.mse_loss(student[name].float(), teacher[name].float()) for name in teacher]).mean()
