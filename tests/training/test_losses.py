from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch.testing import assert_close

from pruneguard.diffusion.snr import min_snr_weights, snr
from pruneguard.training.losses import ddpm_loss, feature_kd_loss, output_kd_loss


def test_snr_equals_diffusers() -> None:
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    t = torch.tensor([0, 10, 500, 999])
    assert_close(snr(scheduler.alphas_cumprod, t), compute_snr(scheduler, t), rtol=1e-3, atol=0)
    assert snr(torch.tensor([0.8]), torch.tensor([0])).item() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("prediction", "form", "expected"),
    [
        ("epsilon", "official", [1.0, 1.0, 0.5]),
        ("v_prediction", "official", [1.0, 1.0, 5 / 11]),
        ("v_prediction", "diffusers", [0.5 / 1.5, 0.8, 5 / 11]),
    ],
)
def test_min_snr_weights_by_hand(prediction: str, form: str, expected: list[float]) -> None:
    weights = min_snr_weights(torch.tensor([0.5, 4.0, 10.0]), 5.0, prediction, form)  # type: ignore[arg-type]
    assert_close(weights, torch.tensor(expected))


def test_min_snr_weights_at_no_signal_at_all() -> None:
    assert min_snr_weights(torch.zeros(1), 5.0, "epsilon").item() == 1.0


def test_ddpm_loss_weighs_rows() -> None:
    predicted = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    target = torch.zeros(2, 1, 2, 2)
    assert ddpm_loss(predicted, target).item() == 5.0
    assert ddpm_loss(predicted, target, torch.tensor([0.5, 0.0])).item() == 0.25


def test_losses_are_float32_in_any_precision() -> None:
    half = torch.full((1, 1, 2, 2), 300.0, dtype=torch.bfloat16)
    assert output_kd_loss(half, torch.zeros_like(half)).item() == 300.0**2
    assert ddpm_loss(half, torch.zeros_like(half)).dtype == torch.float32


def test_feature_kd_is_a_mean_over_blocks() -> None:
    student = {"down": torch.zeros(1, 2), "mid": torch.zeros(1, 3)}
    teacher = {"down": torch.full((1, 2), 2.0), "mid": torch.ones(1, 3)}
    assert feature_kd_loss(student, teacher).item() == (4.0 + 1.0) / 2
    with pytest.raises(KeyError):  # a block that one of the two does not have is a mistake, not a choice
        feature_kd_loss({"down": torch.zeros(1, 2)}, teacher)
