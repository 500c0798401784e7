from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pruneguard.erasure import ConceptBatch, eraser, find_eraser, list_erasers
from pruneguard.erasure.methods.anchor import AnchorSettings, anchor_loss
from pruneguard.erasure.methods.esd import ESDSettings, esd_loss, esd_target
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline


class Recorded:
    """A denoiser that keeps the batch size of every call."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.calls: list[int] = []

    def __call__(self, x_t: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(len(x_t))
        return self.unet(x_t, *args, **kwargs)


@pytest.fixture
def batch(tiny_pipeline: Pipeline) -> ConceptBatch:
    generator = torch.Generator().manual_seed(1)
    return ConceptBatch(
        noisy=torch.randn(2, 4, 16, 16, generator=generator),
        timesteps=torch.tensor([100, 900]),
        text=tiny_pipeline.encode_text(["a red disc in glow style", "glow style, a blue ring"]),
        anchor_text=tiny_pipeline.encode_text(["a red disc in flat style", "flat style, a blue ring"]),
        empty_text=tiny_pipeline.encode_text([""]),
    )


def test_target_by_hand() -> None:
    cond, uncond = torch.tensor([3.0]), torch.tensor([1.0])
    assert esd_target(cond, uncond).item() == -1.0
    assert esd_target(cond, uncond, eta=0).item() == 1.0
    assert esd_target(cond, uncond, eta=2).item() == -3.0


def test_target_means_the_same_in_epsilon_and_v() -> None:
    generator = torch.Generator().manual_seed(0)
    x_t, v_cond, v_uncond = torch.randn(3, 5, generator=generator, dtype=torch.float64).unbind()
    alpha, sigma = 0.6, 0.8

    def to_epsilon(v: Tensor) -> Tensor:
        return v * alpha + x_t * sigma

    assert_close(
        to_epsilon(esd_target(v_cond, v_uncond, 1.7)), esd_target(to_epsilon(v_cond), to_epsilon(v_uncond), 1.7)
    )


def test_esd_asks_the_teacher_once_and_matches_its_formula(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    unet = tiny_pipeline.unet
    teacher = Recorded(unet)
    loss = esd_loss(unet, teacher, batch, ESDSettings(eta=1.0))
    assert teacher.calls == [4]
    with torch.no_grad():
        cond = unet(batch.noisy, batch.timesteps, batch.text).sample
        uncond = unet(batch.noisy, batch.timesteps, batch.empty_text.repeat(2, 1, 1)).sample
    # With student = teacher the error is (1 + eta) (cond - uncond).
    assert_close(loss, 4 * (cond - uncond).square().mean(), rtol=1e-4, atol=1e-9)
    (gradient,) = torch.autograd.grad(loss, unet.conv_in.weight)
    assert gradient.abs().max().item() > 0


def test_anchor_matches_its_formula(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    teacher = Recorded(tiny_pipeline.unet)
    loss = anchor_loss(tiny_pipeline.unet, teacher, batch, AnchorSettings())
    assert teacher.calls == [2]
    with torch.no_grad():
        said = tiny_pipeline.unet(batch.noisy, batch.timesteps, batch.text).sample
        meant = tiny_pipeline.unet(batch.noisy, batch.timesteps, batch.anchor_text).sample
    assert_close(loss, (said - meant).square().mean(), rtol=1e-4, atol=1e-9)
    same = replace(batch, anchor_text=batch.text)
    assert anchor_loss(tiny_pipeline.unet, teacher, same, AnchorSettings()).item() < 1e-12


def test_no_gradient_reaches_the_teacher(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    constant = torch.zeros(2, 4, 16, 16, requires_grad=True)
    loss = esd_loss(lambda *args, **kwargs: (constant,), tiny_pipeline.unet, batch, ESDSettings())
    wanted = torch.autograd.grad(loss, [constant, *tiny_pipeline.unet.parameters()], allow_unused=True)
    assert wanted[0] is not None
    assert all(gradient is None for gradient in wanted[1:])


def test_registry() -> None:
    assert list_erasers() == ("anchor", "esd")
    assert find_eraser("esd").build_settings({"eta": 2.0}) == ESDSettings(eta=2.0)
    with pytest.raises(ConfigError, match="no option 'etta'; its options are: eta"):
        find_eraser("esd").build_settings({"etta": 1})
    with pytest.raises(ConfigError, match=r"no eraser 'esdd': did you mean 'esd'\?"):
        find_eraser("esdd")
    with pytest.raises(ConfigError, match="must be a number of at least 0"):
        ESDSettings(eta=-1)
    with pytest.raises(ValueError, match="registered already"):
        eraser("esd", settings=ESDSettings)(esd_loss)


def test_rows_of_a_batch(batch: ConceptBatch) -> None:
    second = batch.rows(1, 2)
    assert second.timesteps.tolist() == [900]
    assert torch.equal(second.anchor_text, batch.anchor_text[1:])
    assert second.empty_text.shape == (1, 32, 32)
