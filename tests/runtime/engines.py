"""Engines that are plain functions, for tests of what runs above them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pruneguard.runtime import Tokens


class Function:
    """An engine that counts its calls and writes every output into one buffer, as an engine may."""

    def __init__(self, function: Callable[..., Any], output: str) -> None:
        self.function, self.output, self.calls, self.rows = function, output, 0, 0
        self._buffers: dict[Any, Any] = {}

    def run(self, inputs: dict[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        result = np.asarray(self.function(**inputs), dtype=np.float32)
        self.calls += 1
        self.rows += len(result)
        buffer = self._buffers.setdefault(result.shape, np.empty_like(result))
        buffer[...] = result
        return {self.output: buffer}

    def describe(self) -> dict[str, Any]:
        return {}


def letters(prompts: Any) -> Tokens:
    ids = np.zeros((len(prompts), 16), dtype=np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: min(16, len(prompt))] = [ord(letter) for letter in prompt[:16]]
    return Tokens(ids, tuple(max(0, len(prompt) - 16) for prompt in prompts))


def predict(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
    assert timestep.shape == (len(sample),) and timestep.dtype == np.float32
    text = encoder_hidden_states.mean(axis=(1, 2)).reshape(-1, 1, 1, 1)
    return np.tanh(0.5 * sample + 0.01 * text + timestep.reshape(-1, 1, 1, 1) / 1000)


def encode(input_ids: Any) -> Any:
    return np.repeat(input_ids[..., None], 8, axis=2)


def decode(latent_sample: Any) -> Any:
    return np.tanh(latent_sample[:, :3]).repeat(2, axis=2).repeat(2, axis=3)
