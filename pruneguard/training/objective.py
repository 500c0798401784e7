"""The lower level's objective, L_ft: the DDPM loss and distillation from the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pruneguard.diffusion.process import Diffusion
from pruneguard.diffusion.snr import min_snr_weights, snr
from pruneguard.erasure.implicit import ImplicitSettings, SteeredRows
from pruneguard.errors import ModelError
from pruneguard.training.batches import LowerBatch, LowerBatches
from pruneguard.training.features import forward_with_features
from pruneguard.training.losses import ddpm_loss, feature_kd_loss, output_kd_loss
from pruneguard.training.settings import LossSettings

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


def lower_terms(
    student: nn.Module,
    teacher: nn.Module,
    batch: LowerBatch,
    diffusion: Diffusion,
    settings: LossSettings,
    implicit: ImplicitSettings | None = None,
) -> dict[str, Tensor]:
    """The terms of L_ft that have a weight, unweighted: `ddpm`, `output_kd`, `feature_kd`.

    The teacher runs once, and once more for the steered rows of the batch, whose targets must not carry a concept; see
    `ImplicitSettings.lower`. Their features are not distilled, because a feature cannot be steered.
    """
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
        # Every term is there whatever the rows are: the processes of a run average the same terms.
        whole = torch.ones(len(predicted), dtype=torch.bool, device=predicted.device)
        if batch.steered is not None and implicit and implicit.lower != "teacher":
            whole[batch.steered.rows] = False
            if implicit.lower == "steered":
                wanted = _steered(teacher, batch, batch.steered, wanted.float(), implicit.lower_strength)
        distilled = whole | (implicit is not None and implicit.lower == "steered")
        nothing = 0 * predicted.sum()
        if settings.output_kd:
            part = distilled.float().mean()
            loss = output_kd_loss(predicted[distilled], wanted[distilled]) if part else nothing
            terms["output_kd"] = loss * part
        if settings.feature_kd:
            ours, theirs = ({k: v[whole] for k, v in found.items()} for found in (features, wanted_features))
            part = whole.float().mean()
            terms["feature_kd"] = (feature_kd_loss(ours, theirs) if part else nothing) * part
    return terms


@torch.no_grad()
def _steered(teacher: nn.Module, batch: LowerBatch, steered: SteeredRows, wanted: Tensor, strength: float) -> Tensor:
    """The teacher's predictions (B, C, h, w), in the steered rows moved away from what they call up.

    A row that calls up several concepts, such as the empty prompt, is moved away from their mean: guidance multiplies
    the error of the empty prompt, and with the sum that error grew with the number of concepts.
    """
    rows = steered.rows
    noisy, timesteps = batch.noisy[rows], batch.timesteps[rows]
    concept = teacher(noisy, timesteps, encoder_hidden_states=steered.text, return_dict=False)[0]
    shares = 1 / torch.bincount(rows, minlength=len(wanted))[rows, None, None, None]
    return wanted.index_add(0, rows, shares * (wanted[rows] - concept.float()), alpha=strength)


@dataclass(frozen=True)
class LowerObjective:
    """L_ft of a student on the lower level's batches."""

    teacher: nn.Module
    """The teacher's UNet, frozen and in eval mode."""
    batches: LowerBatches
    settings: LossSettings
    implicit: ImplicitSettings | None = None
    """How rows are treated whose caption calls up a concept; None without concepts."""

    def terms(self, student: nn.Module, batch: LowerBatch) -> dict[str, Tensor]:
        """`loss`, the weighted sum, and its terms without weights; all scalars."""
        terms = lower_terms(student, self.teacher, batch, self.batches.diffusion, self.settings, self.implicit)
        weighted = [getattr(self.settings, name) * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}


def diffusion_of(teacher: Pipeline) -> Diffusion:
    """The teacher's forward process. Raises ModelError for a prediction type without a known target."""
    if teacher.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{teacher.source} predicts {teacher.prediction_type!r}; choose a model that predicts epsilon or v"
        )
    return Diffusion(teacher.scheduler.alphas_cumprod.float().cpu(), teacher.prediction_type)
