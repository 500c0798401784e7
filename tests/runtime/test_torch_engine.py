"""The torch engine against diffusers' own StableDiffusionPipeline, on tiny real classes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from pruneguard.errors import ConfigError
from pruneguard.runtime import EngineError, SamplerSettings, draw, draw_noise, sampler_settings, torch_components
from tests.models import build_text_encoder
from tests.runtime.tiny_bundle import SCHEDULER, write_tokenizer


@pytest.fixture
def pipeline(tmp_path: Path) -> Any:
    torch.manual_seed(0)
    write_tokenizer(tmp_path / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    text_encoder = build_text_encoder(tokenizer, width=8)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    )
    return SimpleNamespace(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet.eval(),
        vae=vae.eval(),
        scheduler=PNDMScheduler(**SCHEDULER),
    )


@pytest.mark.parametrize("length", [16, 12])
def test_images_equal_those_of_diffusers(pipeline: Any, length: int) -> None:
    pipeline.tokenizer.model_max_length = length
    reference = StableDiffusionPipeline(
        **vars(pipeline), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    reference.set_progress_bar_config(disable=True)
    prompts, seeds = ["a red star", "blue"], [3, 4]
    expected = reference(
        prompts,
        num_inference_steps=7,
        guidance_scale=7.5,
        latents=torch.from_numpy(draw_noise(seeds, (4, 8, 8))),
        output_type="np",
    ).images
    components = torch_components(pipeline)
    assert components.sampler.text_tokens == length
    drawn = draw(components, prompts, seeds, steps=7)
    assert expected.std() > 0.01
    assert np.abs(drawn.astype(float) - np.round(255 * expected)).max() <= 1


def test_settings_are_the_pipelines_own(pipeline: Any) -> None:
    settings = sampler_settings(pipeline)
    assert (settings.latent_channels, settings.latent_size, settings.vae_scale, settings.text_tokens) == (4, 8, 2, 16)
    assert settings.prediction_type == "v_prediction" and settings.scheduler["steps_offset"] == 1
    assert SamplerSettings.from_dict(json.loads(json.dumps(asdict(settings)))) == settings


def test_truncation_is_counted(pipeline: Any) -> None:
    tokens = torch_components(pipeline).tokenizer(["red", "red " * 20])
    assert tokens.ids.shape == (2, 16) and tokens.truncated == (0, 6)


def test_no_gradients_and_no_shared_memory(pipeline: Any) -> None:
    engine = torch_components(pipeline).text_encoder
    ids = np.zeros((1, 16), dtype=np.int64)
    first, second = (engine.run({"input_ids": ids})["last_hidden_state"] for _ in range(2))
    assert not np.shares_memory(first, second) and np.array_equal(first, second)
    assert engine.describe()["dtype"] == "float32"


def test_a_failing_module_is_an_engine_error(pipeline: Any) -> None:
    with pytest.raises(EngineError, match="UNet2DConditionModel failed"):
        torch_components(pipeline).unet.run(
            {
                "sample": np.zeros((1, 3, 8, 8), np.float32),
                "timestep": np.ones(1, np.float32),
                "encoder_hidden_states": np.zeros((1, 16, 8), np.float32),
            }
        )


def test_a_scheduler_that_pndm_cannot_be_is_refused(pipeline: Any) -> None:
    pipeline.scheduler = PNDMScheduler(prediction_type="sample")
    with pytest.raises(ConfigError, match="prediction_type"):
        torch_components(pipeline)
