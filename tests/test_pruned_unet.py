"""The pruned UNet: built from a dense one, saved, loaded and copied."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from pruneguard.errors import ConfigError
from pruneguard.models import PrunedUNet2DConditionModel
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import random_plan
from tests.models import build_tiny_unet, same_weights


def run(unet: UNet2DConditionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 8, 8, generator=generator).to(unet.dtype)
    text = torch.randn(1, 6, 16, generator=generator).to(unet.dtype)
    with torch.no_grad():
        output: torch.Tensor = unet(latents, 10, text, return_dict=False)[0]
    return output


@pytest.fixture
def pruned() -> PrunedUNet2DConditionModel:
    unet = build_tiny_unet()
    return PrunedUNet2DConditionModel.from_unet(unet, random_plan(unet, 0, remove=2))


def test_from_unet_leaves_the_dense_one_alone() -> None:
    unet = build_tiny_unet()
    weights = copy.deepcopy(unet.state_dict())
    plan = random_plan(unet, 3, remove=1)
    pruned = PrunedUNet2DConditionModel.from_unet(unet, plan)
    assert pruned.plan == plan
    assert all(torch.equal(weights[name], tensor) for name, tensor in unet.state_dict().items())
    assert pruned.num_parameters() < 0.75 * unet.num_parameters()
    assert not pruned.training
    assert all(parameter.requires_grad for parameter in pruned.parameters())
    assert pruned.config.block_out_channels == unet.config.block_out_channels
    same = PrunedUNet2DConditionModel.from_unet(unet, PruningPlan())
    assert torch.equal(run(same), run(unet))


def test_a_pruned_unet_is_not_pruned_again(pruned: PrunedUNet2DConditionModel) -> None:
    with pytest.raises(ConfigError, match="has a pruning plan already"):
        PrunedUNet2DConditionModel.from_unet(pruned, PruningPlan())


@pytest.mark.parametrize("low_memory", [True, False])
def test_saves_and_loads_bit_for_bit(low_memory: bool, pruned: PrunedUNet2DConditionModel, tmp_path: Path) -> None:
    pruned.save_pretrained(tmp_path)
    loaded = PrunedUNet2DConditionModel.from_pretrained(tmp_path, low_cpu_mem_usage=low_memory)
    assert same_weights(loaded, pruned)
    assert loaded.plan == pruned.plan
    assert torch.equal(run(loaded), run(pruned))
    assert json.loads((tmp_path / "config.json").read_text())["pruning_plan"] == pruned.plan.to_dict()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_from_config_copies_and_precisions(pruned: PrunedUNet2DConditionModel) -> None:
    again = PrunedUNet2DConditionModel.from_config(pruned.config)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == {
        name: tensor.shape for name, tensor in pruned.state_dict().items()
    }
    twin = copy.deepcopy(pruned)
    assert same_weights(twin, pruned)
    assert twin.plan == pruned.plan
    assert run(twin.to(torch.bfloat16)).dtype == torch.bfloat16
