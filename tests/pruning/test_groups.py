from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel

from pruneguard.pruning.groups import GroupKey, columns, consumer, spare_blocks, width_layers

Build = Callable[..., UNet2DConditionModel]


def test_layers_of_a_tiny_unet(unet: UNet2DConditionModel) -> None:
    layers = width_layers(unet)
    attention = "down_blocks.0.attentions.0.transformer_blocks.0"
    assert layers[GroupKey("resnets", "mid_block.resnets.1")].slots == 8
    assert layers[GroupKey("heads", f"{attention}.attn2")].slots == 4
    neurons = layers[GroupKey("neurons", f"{attention}.ff")]
    assert (neurons.slots, neurons.together, neurons.block) == (128, 8, "down_blocks.0.attentions.0")
    assert Counter(key.kind for key in layers) == {"resnets": 8, "heads": 8, "neurons": 4}


def test_layers_that_scale_and_shift_by_time_are_not_offered(make_unet: Build) -> None:
    assert not [key for key in width_layers(make_unet(resnet_time_scale_shift="scale_shift")) if key.kind == "resnets"]


def test_spare_blocks_are_those_whose_shapes_allow_it(unet: UNet2DConditionModel) -> None:
    # up_blocks.0.resnets.1 and up_blocks.1.resnets.1 follow a ResNet of their width; up_blocks.1.resnets.0 narrows.
    assert spare_blocks(unet) == (
        "down_blocks.0.resnets.0",
        "down_blocks.0.attentions.0",
        "mid_block.resnets.0",
        "mid_block.resnets.1",
        "mid_block.attentions.0",
        "up_blocks.0.resnets.0",
        "up_blocks.0.resnets.1",
        "up_blocks.1.resnets.1",
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
    )


@pytest.mark.parametrize(
    ("name", "resnets", "heads", "spare"),
    [
        ("sd21-base", 22, {5, 10, 20}, 34),
        ("sd14", 22, {8}, 34),
        ("bk-sdm-v2-base", 14, {5, 10, 20}, None),
        ("bk-sdm-v2-small", 12, {5, 10, 20}, None),
        ("bk-sdm-v1-tiny", 9, {8}, None),
    ],
)
def test_real_architectures(
    name: str, resnets: int, heads: set[int], spare: int | None, real_unet: Callable[[str], UNet2DConditionModel]
) -> None:
    unet = real_unet(name)
    layers = width_layers(unet)
    assert len([key for key in layers if key.kind == "resnets"]) == resnets
    assert {layer.slots for key, layer in layers.items() if key.kind == "heads"} == heads
    assert {layer.slots for key, layer in layers.items() if key.kind == "resnets"} == {32}
    if spare is not None:
        assert len(spare_blocks(unet)) == spare


def test_columns_of_slots() -> None:
    assert columns((0, 2), 12, 4).tolist() == [0, 1, 2, 6, 7, 8]


def test_the_consumer_reads_all_slots(unet: UNet2DConditionModel) -> None:
    for key, layer in width_layers(unet).items():
        assert consumer(unet, key).weight.shape[1] % layer.slots == 0
    assert isinstance(consumer(unet, GroupKey("resnets", "mid_block.resnets.0")), torch.nn.Conv2d)
