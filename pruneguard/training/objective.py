"""The lower level's objective, L_ft: the DDPM loss and distillation from the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pruneguard.diffusion.process import Diffusion
from pruneguard.diffusion.snr import min_snr_weights, snr
from pruneguard.errors import ModelError
from pruneguard.training.batches import LowerBatch, LowerBatches
from pruneguard.training.features import forward_with_features
from pruneguard.training.losses import ddpm_loss, feature_kd_loss, output_kd_loss
from pruneguard.training.settings import LossSettings

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


def lower_terms(
    student: nn.Module, teacher: nn.Module, batch: LowerBatch, diffusion: Diffusion, settings: LossSettings
) -> dict[str, Tensor]:
    """The terms of L_ft that have a weight, unweighted: `ddpm`, `output_kd`, `feature_kd`. The teacher runs once."""
    terms: dict[str, Tensor] = {}
    predicted, features = forward_with_features(student, batch.noisy, batch.timesteps, batch.text)
    predicted = predicted.float()  # once, so that under bfloat16 the gradients of two losses are added in float32
    if settings.ddpm:
        weights = None
        if settings.min_snr_gamma:
            ratio = snr(diffusion.alphas_cumprod, batch.timesteps)
            weights = min_snr_weights(ratio, settings.min_snr_gamma, diffusion.prediction_type, settings.min_snr_form)
        terms["ddpm"] = ddpm_loss(predicted, batch.target, weights)
    if settings.output_kd or settings.feature_kd:
        with torch.no_grad():
            wanted, wanted_features = forward_with_features(teacher, batch.noisy, batch.timesteps, batch.text)
        if settings.output_kd:
            terms["output_kd"] = output_kd_loss(predicted, wanted)
        if settings.feature_kd:
            terms["feature_kd"] = feature_kd_loss(features, wanted_features)
    return terms


@dataclass(frozen=True)
class LowerObjective:
    """L_ft of a student on the lower level's batches."""

    teacher: nn.Module
    """The teacher's UNet, frozen and in eval mode."""
    batches: LowerBatches
    settings: LossSettings

    def terms(self, student: nn.Module, batch: LowerBatch) -> dict[str, Tensor]:
        """`loss`, the weighted sum, and its terms without weights; all scalars."""
        terms = lower_terms(student, self.teacher, batch, self.batches.diffusion, self.settings)
        weighted = [getattr(self.settings, name) * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}


def diffusion_of(teacher: Pipeline) -> Diffusion:
    """The teacher's forward process. Raises ModelError for a prediction type without a known target."""
    if teacher.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{teacher.source} predicts {teacher.prediction_type!r}; choose a model that predicts epsilon or v"
        )
    return Diffusion(teacher.scheduler.alphas_cumprod.float().cpu(), teacher.prediction_type)
