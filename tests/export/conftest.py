"""One small pruned pipeline and its export, made once a session: tracing is what takes time here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTokenizer

from pruneguard import atelier
from pruneguard.export import ExportRecord, export_onnx
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel
from pruneguard.pruning.plan import PruningPlan
from tests.models import build_scheduler, build_text_encoder

PROMPTS = ("a red fish in flat style", "a blue cup")


@dataclass(frozen=True)
class Exported:
    pipeline: Pipeline
    folder: Path
    record: ExportRecord
    stages: list[tuple[str, int, int]]


def build_pipeline() -> Pipeline:
    """Latents (4, 8, 8), pictures of 16x16, 32 tokens; of the UNet, two blocks are removed and widths are uneven."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(atelier.folder() / "tokenizer")
    # Prompts are of the tokenizer's length although the encoder takes longer ones.
    text_encoder = build_text_encoder(tokenizer, width=16, more_positions=8)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=16,
    )
    dense = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
        use_linear_projection=True,
    )
    transformer = "up_blocks.0.attentions.0.transformer_blocks.0"
    plan = PruningPlan(
        resnets={"mid_block.resnets.0": (0, 2, 3)},
        heads={f"{transformer}.attn1": (1,)},
        neurons={f"{transformer}.ff": tuple(range(0, 64, 2))},
        removed=("up_blocks.0.attentions.1", "up_blocks.1.resnets.0"),
    )
    unet = PrunedUNet2DConditionModel.from_unet(dense, plan)
    torch.set_rng_state(state)
    return Pipeline(tokenizer, text_encoder, vae.eval(), unet.eval(), build_scheduler(), "small")


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[[], Pipeline]:
    """Equal pipelines at each call, for tests that break theirs."""
    return build_pipeline


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    pipeline, stages = build_pipeline(), list[tuple[str, int, int]]()
    folder = tmp_path_factory.mktemp("export") / "onnx"
    record = export_onnx(pipeline, folder, prompts=PROMPTS, on_progress=lambda *stage: stages.append(stage))
    return Exported(pipeline, folder, record, stages)
