"""ESD: push the prediction for a concept's prompt away from the concept (Gandikota et al. 2023, arXiv:2303.07345)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pruneguard.erasure.contract import ConceptBatch, Denoiser
from pruneguard.erasure.gradient import gradient_eraser
from pruneguard.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ESDSettings:
    """`eta` in the paper's convention: 0 removes the concept's direction, 1 mirrors it at the unconditional one."""

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eta) and self.eta >= 0):
            raise ConfigError(f"eraser 'esd': `eta` is {self.eta!r}; it must be a number of at least 0")


def esd_target(cond: Tensor, uncond: Tensor, eta: float = 1.0) -> Tensor:
    """What the student must predict for the concept's prompt: uncond - eta (cond - uncond).

    `cond`, `uncond`: the teacher's predictions at the same x_t and t, (B, C, h, w); the result has their shape.
    Valid for epsilon and v alike: at fixed x_t, epsilon = alpha_t v + sigma_t x_t is affine in v, and the coefficients
    of this combination, 1 + eta and -eta, sum to 1, so forming it in v and converting it equals forming it in epsilon.
    Source: the paper's fine-tuning target. The authors' later scripts count eta + 1 as "negative guidance".
    """
    return uncond - eta * (cond - uncond)


@gradient_eraser("esd", settings=ESDSettings)
def esd_loss(student: Denoiser, teacher: Denoiser, batch: ConceptBatch, settings: ESDSettings) -> Tensor:
    """Mean squared error between the student under the concept's prompt and the ESD target, a scalar."""
    count = len(batch.noisy)
    with torch.no_grad():
        cond, uncond = teacher(
            batch.noisy.repeat(2, 1, 1, 1),
            batch.timesteps.repeat(2),
            encoder_hidden_states=torch.cat([batch.text, batch.empty_text.expand(count, -1, -1)]),
            return_dict=False,
        )[0].chunk(2)
    predicted = student(batch.noisy, batch.timesteps, encoder_hidden_states=batch.text, return_dict=False)[0]
    return F.mse_loss(predicted.float(), esd_target(cond.float(), uncond.float(), settings.eta))
