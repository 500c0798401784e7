"""What stands before and after denoising: prompts to text states, latents to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Components, EngineError, all_rows, finite_rows, run_engine
from .solver import Array
from .tokens import PROBES

Pixels = NDArray[np.uint8]


def encode_prompts(components: Components, prompts: Sequence[str]) -> Array:
    """Text states (B, L, D); equal prompts are encoded once. Raises EngineError."""
    return all_rows(encode_rows(components, prompts))


def decode_latents(components: Components, latents: Array) -> Pixels:
    """Latents (B, C, h, w) in the UNet's scale to images (B, H, W, 3). Raises EngineError."""
    return all_rows(decode_rows(components, latents))


def check_prompts_differ(components: Components) -> None:
    """Raises EngineError unless two different prompts get different text states.

    With a tokenizer without its vocabulary, or a text encoder that ignores its input, every prompt draws one picture,
    and an audit of it would show nothing.
    """
    first, second = encode_prompts(components, PROBES)
    if np.array_equal(first, second):
        raise EngineError("all prompts give the same text states; the tokenizer or the text encoder is not whole")


def encode_rows(components: Components, prompts: Sequence[str]) -> list[Array | EngineError]:
    """Text states (L, D) of each prompt, or an EngineError where they are not finite.

    Raises EngineError if the engine fails as a whole.
    """
    distinct = list(dict.fromkeys(prompts))
    ids = components.tokenizer(distinct).ids
    states = run_engine(
        components.text_encoder, "the text encoder", {"input_ids": ids}, "last_hidden_state", (*ids.shape, None)
    )
    # The states are copied: an engine may reuse its buffer for the next prompts.
    rows = finite_rows("the text encoder", states.copy())
    return [rows[distinct.index(prompt)] for prompt in prompts]


def decode_rows(components: Components, latents: Array) -> list[Pixels | EngineError]:
    """Images (H, W, 3) of latents (B, C, h, w) in the UNet's scale, or an EngineError where one is not finite.

    Raises EngineError if the engine fails as a whole.
    """
    with np.errstate(over="ignore"):  # the decoder's output is checked
        scaled = latents / np.float32(components.sampler.scaling_factor)
    sides = (side * components.sampler.vae_scale for side in latents.shape[2:])
    pixels = run_engine(
        components.vae_decoder, "the VAE decoder", {"latent_sample": scaled}, "sample", (len(latents), 3, *sides)
    )
    return [row if isinstance(row, EngineError) else _levels(row) for row in finite_rows("the VAE decoder", pixels)]


def _levels(pixels: Array) -> Pixels:
    """An image (3, H, W) in [-1, 1] as (H, W, 3) in 0 to 255."""
    levels = np.clip(pixels / 2 + 0.5, 0, 1) * 255
    return np.ascontiguousarray(levels.round().astype(np.uint8).transpose(1, 2, 0))
