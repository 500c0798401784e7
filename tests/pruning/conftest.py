"""UNets of the stock class at tiny size, and the real configurations where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

MODELS = Path(__file__).parents[2] / ".." / "shared" / "data" / "models"
TINY: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


@pytest.fixture
def make_unet() -> Callable[..., UNet2DConditionModel]:
    """A tiny UNet whose norms are not at their initial values, as after training."""

    def make(**changes: Any) -> UNet2DConditionModel:
        torch.manual_seed(0)
        unet = UNet2DConditionModel(**{**TINY, **changes}).eval()
        for module in unet.modules():
            if isinstance(module, torch.nn.GroupNorm):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.5)
        return unet

    return make


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
    """The UNet of a public model on the meta device: its architecture without its weights."""

    def build(name: str) -> UNet2DConditionModel:
        path = MODELS / name / "unet" / "config.json"
        if not path.is_file():
            pytest.skip(f"no configuration of {name} at {path}")
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(json.loads(path.read_text()))

    return build
