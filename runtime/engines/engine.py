"""Engines, and the set of them that makes one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import PruneguardError

from ..sampling.memory import Footprint
from ..sampling.settings import SamplerSettings
from ..sampling.tokens import Tokenizer

T = TypeVar("T", bound=np.generic)


class EngineError(PruneguardError):
    """An engine failed, or its output has the wrong shape or values that are not finite."""

    code = "engine_failed"


class Engine(Protocol):
    """One component, ready to run. Names and shapes follow optimum's ONNX pipelines, but for the timestep:

    text_encoder: input_ids (B, L) int64 -> last_hidden_state (B, L, D)
    unet: sample (B, C, h, w), timestep (B,) float32, encoder_hidden_states (B, L, D) -> out_sample (B, C, h, w)
    vae_decoder: latent_sample (B, C, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in [-1, 1]

    `run` gives the named `outputs`, and computes no other one if it can; None asks for all. It raises EngineError, also
    for an output that the engine lacks and for a call that was stopped at its deadline. What it gives may lie in memory
    that the next call overwrites.
    """

    def run(self, inputs: dict[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]: ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Components:
    """The engines, tokenizer and settings of one model. It holds no state of a request, so threads may share it.

    `footprint` is the memory that its calls need, if its record says so.
    """

    text_encoder: Engine
    unet: Engine
    vae_decoder: Engine
    tokenizer: Tokenizer
    sampler: SamplerSettings
    footprint: Footprint | None = None

    def describe(self) -> dict[str, Any]:
        """Each engine's own description by its component, for reports."""
        return {name: getattr(self, name).describe() for name in ("text_encoder", "unet", "vae_decoder")}


def run_engine(
    engine: Engine, name: str, inputs: dict[str, NDArray[Any]], output: str, shape: Sequence[int | None]
) -> NDArray[np.float32]:
    """One output of an engine in float32; None in `shape` stands for any size. No other output is asked for.

    Raises EngineError if the engine fails, or if the output is no array of numbers or has another shape. Values may be
    not finite.
    """
    found = engine.run(inputs, (output,)).get(output)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise EngineError(f"{name} gave no numbers as {output!r}; export it again")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as such
        values = np.asarray(found, dtype=np.float32)
    expected = tuple(size if want is None else want for size, want in zip(values.shape, shape, strict=False))
    if values.ndim != len(shape) or values.shape != expected:
        raise EngineError(f"{name} gave shape {values.shape} where {tuple(shape)} is due; export it again")
    return values


def finite_rows(name: str, values: NDArray[np.float32]) -> list[NDArray[np.float32] | EngineError]:
    """The rows of an output; an EngineError in place of each row that holds NaN or infinity."""
    message = f"{name} gave values that are not finite; check the engine's precision"
    return [row if np.isfinite(row).all() else EngineError(message) for row in values]


def all_rows(rows: Sequence[NDArray[T] | EngineError]) -> NDArray[T]:
    """The rows as one array (B, ...). Raises the first EngineError among them."""
    for row in rows:
        if isinstance(row, EngineError):
            raise row
    return np.stack([row for row in rows if not isinstance(row, EngineError)])
