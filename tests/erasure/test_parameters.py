from __future__ import annotations

import pytest
from torch import nn

from pruneguard.erasure import select_parameters
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline


def test_sets_of_a_real_unet(tiny_pipeline: Pipeline) -> None:
    unet = tiny_pipeline.unet
    x = select_parameters(unet, ["x"])
    # One transformer in the down block, one in the middle, two in the up block; each has q, k, v, out and out's bias.
    assert len(x) == 4 * 5
    assert {name.split(".")[-2] for name in x} == {"to_q", "to_k", "to_v", "0"}
    assert all("attn2" in name and "norm" not in name for name in x)
    strict = select_parameters(unet, ["x-strict"])
    assert len(strict) == 4 * 2
    assert set(strict) < set(x)
    u = select_parameters(unet, ["u"])
    assert {"conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight"} <= set(u)
    assert not set(u) & set(x)
    assert not any("norm" in name for name in u)
    everything = select_parameters(unet, ["all"])
    assert set(everything) == set(u) | set(x) == set(select_parameters(unet, ["x", "u"]))
    assert all(parameter is dict(unet.named_parameters())[name] for name, parameter in everything.items())


def test_removed_blocks_are_not_there(tiny_pipeline: Pipeline) -> None:
    unet = tiny_pipeline.unet
    unet.mid_block.attentions[0].transformer_blocks[0] = nn.Identity()
    assert len(select_parameters(unet, ["x"])) == 3 * 5
    for block in (*unet.down_blocks, *unet.up_blocks):
        for attention in getattr(block, "attentions", []):
            attention.transformer_blocks[0] = nn.Identity()
    with pytest.raises(ConfigError, match="no weights in parameter set x; choose another"):
        select_parameters(unet, ["x"])
