"""Anchor mapping: draw a concept's prompt as the teacher draws its anchor (Kumari et al. 2023, arXiv:2303.13516).

Unlike ESD it says what to draw instead, so what a prompt says besides the concept is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pruneguard.erasure.contract import ConceptBatch, Denoiser
from pruneguard.erasure.gradient import gradient_eraser


@dataclass(frozen=True, kw_only=True)
class AnchorSettings:
    """Anchor mapping has no options: the anchors belong to the concept."""


@gradient_eraser("anchor", settings=AnchorSettings)
def anchor_loss(student: Denoiser, teacher: Denoiser, batch: ConceptBatch, settings: AnchorSettings) -> Tensor:
    """Mean squared error between the student under the concept's prompt and the teacher under the anchor, a scalar.

    Source: Concept Ablation, the model-based variant with unit weight. A single prediction of the teacher is its own
    combination with coefficients that sum to 1, so it serves epsilon and v alike.
    """
    with torch.no_grad():
        target = teacher(batch.noisy, batch.timesteps, encoder_hidden_states=batch.anchor_text, return_dict=False)[0]
    predicted = student(batch.noisy, batch.timesteps, encoder_hidden_states=batch.text, return_dict=False)[0]
    return F.mse_loss(predicted.float(), target.float())
