"""The models that tests share: the real classes at tiny size with random weights, and public configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pruneguard import atelier
from pruneguard.models import Pipeline

CONFIGURATIONS = Path(__file__).parents[1] / ".." / "shared" / "data" / "models"


def build_tiny_pipeline(prediction_type: str = "v_prediction", seed: int = 0) -> Pipeline:
    """A pipeline for 64x64 pictures and latents (4, 16, 16) whose UNet has 2 levels of 32 and 64 channels."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(atelier.folder() / "tokenizer")
    text_encoder = build_text_encoder(tokenizer, width=32)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=64,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    torch.set_rng_state(state)
    return Pipeline(tokenizer, text_encoder, vae.eval(), unet.eval(), build_scheduler(prediction_type), "tiny")


def build_text_encoder(tokenizer: CLIPTokenizer, width: int, more_positions: int = 0) -> CLIPTextModel:
    """A CLIP text encoder of one layer for the tokenizer's length, and for `more_positions` beyond it."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=width,
        max_position_embeddings=int(tokenizer.model_max_length) + more_positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def build_scheduler(prediction_type: str = "v_prediction") -> PNDMScheduler:
    """The scheduler of Stable Diffusion."""
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )


def build_tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """A UNet for latents (4, 8, 8) and text states of 16 numbers; its norms are as after training, not initial."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    unet = UNet2DConditionModel(**{**settings, **changes}).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)
    return unet


def build_real_unet(name: str) -> UNet2DConditionModel:
    """The UNet of a public model on the meta device: its architecture without its weights. Skips where it is absent."""
    path = CONFIGURATIONS / name / "unet" / "config.json"
    if not path.is_file():
        pytest.skip(f"no configuration of {name} at {path}")
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(json.loads(path.read_text()))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)
