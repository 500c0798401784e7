"""The timed UNets: the architecture of Stable Diffusion 2.1 with random weights, dense and pruned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from pruneguard.models import PrunedUNet2DConditionModel
from pruneguard.pruning.criteria import load_criterion
from pruneguard.pruning.search import find_plan

TEXT_TOKENS = 77
# The public configuration of Stable Diffusion 2.1 base, for machines without a copy of the file.
STABLE_DIFFUSION_21: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "attention_head_dim": [5, 10, 20, 20],  # diffusers reads this as the number of heads
    "cross_attention_dim": 1024,
    "norm_num_groups": 32,
    "use_linear_projection": True,
}
# The same blocks at a width at which a CPU takes milliseconds a step.
THIN: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [32, 32, 64, 64],
    "layers_per_block": 1,
    "attention_head_dim": [2, 2, 4, 4],
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
}


def load_config(path: Path | None, *, thin: bool) -> tuple[dict[str, Any], str]:
    """The UNet's configuration and its source; the embedded configuration if `path` is not a file."""
    config, source = STABLE_DIFFUSION_21, "embedded"
    if path is not None and path.is_file():
        config, source = json.loads(path.read_text()), str(path)
    known = {name: value for name, value in config.items() if not name.startswith("_")}
    return (known | THIN, f"{source}, thin") if thin else (known, source)


def build_unets(
    config: dict[str, Any], *, budget: float, device: torch.device, tolerance: float = 0.01
) -> tuple[UNet2DConditionModel, PrunedUNet2DConditionModel]:
    """A dense UNet with random weights in float32, and its copy pruned by magnitude to `budget` of the MACs."""
    with torch.device(device):
        dense = UNet2DConditionModel(**config).eval()
    scores = load_criterion("magnitude")(dense)
    plan = find_plan(dense, scores, budget=budget, text_tokens=TEXT_TOKENS, tolerance=tolerance)
    return dense, PrunedUNet2DConditionModel.from_unet(dense, plan).eval()
