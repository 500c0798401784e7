"""UNets of the stock class at tiny size, and the real configurations where they are at hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.models import build_real_unet, build_tiny_unet


@pytest.fixture
def make_unet() -> Callable[..., UNet2DConditionModel]:
    """A tiny UNet, with changes to its configuration."""
    return build_tiny_unet


@pytest.fixture
def unet(make_unet: Callable[..., UNet2DConditionModel]) -> UNet2DConditionModel:
    return make_unet()


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (2, 4, 8, 8), timesteps (2,) and text states (2, 5, 16)."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    return latents, torch.tensor([10, 700]), torch.randn(2, 5, 16, generator=generator)


@pytest.fixture
def real_unet() -> Callable[[str], UNet2DConditionModel]:
    """The UNet of a public model on the meta device."""
    return build_real_unet
