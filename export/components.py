"""The inputs and outputs of each engine, as data, in the names of optimum's ONNX pipelines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from pruneguard.errors import ExportError

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Dim = str | int

MAX_LEVELS = 4


@dataclass(frozen=True)
class Port:
    """A named input or output: its dimensions (a string names a free one) and its element type."""

    name: str
    dims: tuple[Dim, ...]
    dtype: Literal["float32", "int64"] = "float32"

    @property
    def dynamic(self) -> dict[int, str]:
        """The names of the free dimensions by their index."""
        return {index: dim for index, dim in enumerate(self.dims) if isinstance(dim, str)}


@dataclass(frozen=True)
class Component:
    """One engine to export: its inputs and outputs, and the module that computes it from the inputs in order."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    module: nn.Module
    example: Callable[[], tuple[Tensor, ...]]

    @property
    def parameter_bytes(self) -> int:
        """The size of its weights and buffers."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.module.state_dict().values())


class TextStates(nn.Module):
    """input_ids (B, L) -> last_hidden_state (B, L, D)."""

    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: Tensor) -> Any:
        return self.text_encoder(input_ids, return_dict=True).last_hidden_state


class Prediction(nn.Module):
    """sample (B, C, h, w), timestep (B,), encoder_hidden_states (B, L, D) -> out_sample (B, C, h, w)."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Any:
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]


class Decoding(nn.Module):
    """latent_sample (B, C, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in [-1, 1]."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample: Tensor) -> Any:
        return self.vae.decode(latent_sample, return_dict=False)[0]  # type: ignore[operator]


def components_of(pipeline: Pipeline) -> tuple[Component, ...]:
    """The text encoder, UNet and VAE decoder of a pipeline.

    Raises ExportError for a component that is not on the CPU in float32, or holds a weight that is not finite, and for
    a UNet of more than four levels, which would halve latents in multiples of 8 to odd sizes.
    """
    if (levels := len(pipeline.unet.config.block_out_channels)) > MAX_LEVELS:
        raise ExportError(
            f"unet: {levels} levels need latents in multiples of {2 ** (levels - 1)}; at most {MAX_LEVELS}"
        )
    for name in ("text_encoder", "unet", "vae"):
        _check_weights(name, getattr(pipeline, name))
    return (_text_encoder(pipeline), _unet(pipeline), _vae_decoder(pipeline))


def _text_encoder(pipeline: Pipeline) -> Component:
    # The number of tokens is fixed: prompts are always padded to it. An engine that takes any other number would run
    # past the position embeddings, or silently disagree with the model.
    tokens, width = pipeline.text_tokens, int(pipeline.text_encoder.config.hidden_size)
    vocabulary = int(pipeline.text_encoder.config.vocab_size)
    return Component(
        "text_encoder",
        (Port("input_ids", ("batch_size", tokens), "int64"),),
        # Further outputs, such as optimum's pooler_output, would be computed in every call; nothing here reads them.
        (Port("last_hidden_state", ("batch_size", tokens, width)),),
        TextStates(pipeline.text_encoder),
        lambda: (torch.arange(2 * tokens).reshape(2, tokens) % vocabulary,),
    )


def _unet(pipeline: Pipeline) -> Component:
    config, tokens = pipeline.unet.config, pipeline.text_tokens
    channels, width = int(config.in_channels), int(config.cross_attention_dim)
    latents: tuple[Dim, ...] = ("batch_size", channels, "height", "width")
    return Component(
        "unet",
        (
            Port("sample", latents),
            # One float for each row: rows of one batch may stand at different, also fractional, timesteps. The graph
            # broadcasts a single one over all rows, which is how optimum's pipelines call it.
            Port("timestep", ("batch_size",)),
            Port("encoder_hidden_states", ("batch_size", tokens, width)),
        ),
        (Port("out_sample", ("batch_size", int(config.out_channels), "height", "width")),),
        Prediction(pipeline.unet),
        lambda: (*_example_latents(channels), torch.ones(2), torch.zeros(2, tokens, width)),
    )


def _vae_decoder(pipeline: Pipeline) -> Component:
    config, scale = pipeline.vae.config, pipeline.vae_scale
    channels = int(config.latent_channels)
    return Component(
        "vae_decoder",
        (Port("latent_sample", ("batch_size", channels, "latent_height", "latent_width")),),
        (
            Port(
                "sample",
                ("batch_size", int(config.out_channels), f"{scale}*latent_height", f"{scale}*latent_width"),
            ),
        ),
        Decoding(pipeline.vae),
        lambda: _example_latents(channels),
    )


def _example_latents(channels: int) -> tuple[Tensor]:
    # No size is 1 at any level, and height and width differ: the tracer would take such sizes for constants.
    return (torch.zeros(2, channels, 16, 24),)


def _check_weights(name: str, module: nn.Module) -> None:
    for key, tensor in module.named_parameters():
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise ExportError(
                f"{name}: {key} is {tensor.dtype} on {tensor.device}; export needs float32 on the CPU: "
                "pipeline.to('cpu', torch.float32)"
            )
        if not torch.isfinite(tensor).all():
            raise ExportError(
                f"{name}: {key} holds values that are not finite; export the last good checkpoint instead"
            )
