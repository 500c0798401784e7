"""Attention for training on a CPU: the same numbers, and no trace of it afterwards."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from pruneguard.models import Pipeline
from pruneguard.training.attention import PlainAttention, plain_attention


def test_it_agrees_with_the_fused_kernel_and_is_gone_after_the_block(tiny_pipeline: Pipeline) -> None:
    unet = tiny_pipeline.unet
    size, width = tiny_pipeline.latent_size, int(unet.config.cross_attention_dim)
    inputs = (torch.randn(2, tiny_pipeline.latent_channels, size, size), 7, torch.randn(2, 5, width))
    before = dict(unet.attn_processors)
    with torch.no_grad():
        fused = unet(*inputs).sample
        with plain_attention(unet):
            assert all(isinstance(processor, PlainAttention) for processor in unet.attn_processors.values())
            plain = unet(*inputs).sample
    assert_close(plain, fused, atol=1e-5, rtol=0)
    assert unet.attn_processors == before
