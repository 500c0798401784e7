"""A UNet's forward pass that returns its block outputs beside its prediction."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn


def feature_blocks(unet: nn.Module) -> dict[str, nn.Module]:
    """The blocks whose outputs are distilled: all down blocks, the middle, all up blocks; nine on Stable Diffusion."""
    blocks = {f"down_blocks.{i}": block for i, block in enumerate(unet.get_submodule("down_blocks").children())}
    if isinstance(getattr(unet, "mid_block", None), nn.Module):
        blocks["mid_block"] = unet.get_submodule("mid_block")
    return blocks | {f"up_blocks.{i}": block for i, block in enumerate(unet.get_submodule("up_blocks").children())}


def forward_with_features(unet: nn.Module, x_t: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The prediction (B, C, h, w) for x_t, and the output of each feature block.

    A down block also returns its skip connections; its first output is taken. Hooks live for this call only, so
    activations of two passes cannot mix. `unet` may be wrapped for distributed training.
    """
    wrapped = getattr(unet, "module", None)
    inner = wrapped if isinstance(wrapped, nn.Module) else unet
    features: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, block in feature_blocks(inner).items():

            def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                features[name] = output[0] if isinstance(output, tuple) else output

            hooks.callback(block.register_forward_hook(keep).remove)
        predicted: Tensor = unet(x_t, t, encoder_hidden_states=text, return_dict=False)[0]
    return predicted, features
