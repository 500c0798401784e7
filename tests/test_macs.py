from __future__ import annotations

import pytest
import torch

from pruneguard.errors import ConfigError
from pruneguard.macs import Macs, module_macs, unet_macs
from tests.models import build_real_unet, build_tiny_unet


@pytest.mark.parametrize(
    ("name", "total", "without_attention", "parameters"),
    [
        ("sd21-base", 402_128_732_160, 339_102_597_120, 865_910_724),
        ("sd14", 401_636_720_640, 338_610_585_600, 859_520_964),
    ],
)
def test_stable_diffusion(name: str, total: int, without_attention: int, parameters: int) -> None:
    assert unet_macs(build_real_unet(name), latent_size=64) == Macs(total, without_attention, parameters)


def test_layers_by_hand() -> None:
    modules = module_macs(build_tiny_unet(), text_tokens=5)
    attention = "down_blocks.0.attentions.0.transformer_blocks.0"
    assert modules["conv_in"] == Macs(4 * 32 * 9 * 64, 4 * 32 * 9 * 64, 4 * 32 * 9 + 32)
    self_attention = modules[f"{attention}.attn1"]
    assert self_attention.total - self_attention.without_attention == 2 * 64 * 64 * 32
    assert self_attention.without_attention == 4 * 64 * 32 * 32
    cross_attention = modules[f"{attention}.attn2"]
    assert cross_attention.total - cross_attention.without_attention == 2 * 64 * 5 * 32
    assert cross_attention.without_attention == 2 * 64 * 32 * 32 + 2 * 5 * 16 * 32


def test_the_weights_are_left_where_they_are() -> None:
    unet = build_tiny_unet()
    pointers = [parameter.data_ptr() for parameter in unet.parameters()]
    assert unet_macs(unet) == unet_macs(unet.to(torch.float16))
    assert unet_macs(unet.float()) == unet_macs(unet.to("meta"))
    assert all(pointers)


@pytest.mark.parametrize("options", [{"latent_size": 0}, {"text_tokens": 0}])
def test_impossible_shapes(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="positive integer"):
        unet_macs(build_tiny_unet(), **options)


def test_sums() -> None:
    assert (Macs(9, 6, 3) - Macs(3, 2, 1) + Macs(1, 1, 1) * 2) // 2 == Macs(4, 3, 2)
