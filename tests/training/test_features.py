from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from pruneguard.models import Pipeline
from pruneguard.training.features import feature_blocks, forward_with_features


def hooks_of(unet: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in unet.modules())


def test_prediction_is_unchanged_and_features_are_the_blocks_outputs(tiny_pipeline: Pipeline) -> None:
    unet, text = tiny_pipeline.unet, tiny_pipeline.encode_text(["a disc", ""])
    x_t, t = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 900])
    with torch.no_grad():
        predicted, features = forward_with_features(unet, x_t, t, text)
        assert torch.equal(predicted, unet(x_t, t, text).sample)
    assert {name: tuple(feature.shape) for name, feature in features.items()} == {
        "down_blocks.0": (2, 32, 8, 8),
        "down_blocks.1": (2, 64, 8, 8),
        "mid_block": (2, 64, 8, 8),
        "up_blocks.0": (2, 64, 16, 16),
        "up_blocks.1": (2, 32, 16, 16),
    }
    assert hooks_of(unet) == 0


def test_hooks_go_when_the_forward_fails(tiny_pipeline: Pipeline) -> None:
    with pytest.raises(RuntimeError):
        forward_with_features(tiny_pipeline.unet, torch.zeros(1, 3, 16, 16), torch.tensor([1]), torch.zeros(1, 32, 32))
    assert hooks_of(tiny_pipeline.unet) == 0


def test_stable_diffusion_has_nine_blocks_and_atelier_seven() -> None:
    from benchmarks.recipe.components import build_unet

    with torch.device("meta"):
        assert len(feature_blocks(UNet2DConditionModel())) == 9
        assert len(feature_blocks(build_unet())) == 7


def test_a_wrapped_unet_is_called_through_its_wrapper(tiny_pipeline: Pipeline) -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module
            self.calls = 0

        def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            found: torch.Tensor = self.module(*args, **kwargs)
            return found

    wrapper = Wrapper(tiny_pipeline.unet)
    text = tiny_pipeline.encode_text([""])
    _, features = forward_with_features(wrapper, torch.zeros(1, 4, 16, 16), torch.tensor([1]), text)
    assert (wrapper.calls, len(features)) == (1, 5)
