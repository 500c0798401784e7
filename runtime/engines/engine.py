"""Engines, and the set of them that makes one model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, PruneguardError

from ..sampling.pndm import PndmConfig
from ..sampling.tokens import Tokenizer


class EngineError(PruneguardError):
    """An engine failed, or computed something that is not a number."""

    code = "engine_failed"


class Engine(Protocol):
    """One component, ready to run. Names and shapes are those of optimum's ONNX pipelines:

    text_encoder: input_ids (B, L) int64 -> last_hidden_state (B, L, D)
    unet: sample (B, C, h, w), timestep () int64, encoder_hidden_states (B, L, D) -> out_sample (B, C, h, w)
    vae_decoder: latent_sample (B, C, h, w), already divided by the scaling factor -> sample (B, 3, H, W) in [-1, 1]
    """

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]: ...

    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """How a model is sampled by default, and the sizes of its tensors; `asdict` gives the manifest's `sampler`."""

    scheduler: Mapping[str, Any]
    latent_channels: int
    latent_size: int
    vae_scale: int
    scaling_factor: float
    text_tokens: int
    prediction_type: str
    steps: int = 25
    guidance_scale: float = 7.5

    def __post_init__(self) -> None:
        for name in ("latent_channels", "latent_size", "vae_scale", "text_tokens", "steps"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"sampler {name} must be a whole number from 1, not {value!r}")
        for name in ("scaling_factor", "guidance_scale"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
                raise ConfigError(f"sampler {name} must be a finite positive number, not {value!r}")
        if not self.scaling_factor:
            raise ConfigError("sampler scaling_factor must not be 0")
        if not isinstance(self.scheduler, Mapping):
            raise ConfigError("sampler scheduler must be the content of scheduler_config.json")
        if PndmConfig.from_dict(self.scheduler).prediction_type != self.prediction_type:
            raise ConfigError(f"sampler prediction_type {self.prediction_type!r} is not the scheduler's")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> SamplerSettings:
        """Reads the manifest's `sampler`. Raises ConfigError for a wrong, missing or unknown key."""
        known = {entry.name for entry in fields(cls)}
        required = known - {"steps", "guidance_scale"}
        if wrong := (required - settings.keys()) | (settings.keys() - known):
            raise ConfigError(f"sampler settings lack or do not know: {', '.join(sorted(wrong))}")
        return cls(**settings)


@dataclass(frozen=True, kw_only=True)
class Components:
    """All that drawing needs; it holds no state of a request, so that threads may share it."""

    text_encoder: Engine
    unet: Engine
    vae_decoder: Engine
    tokenizer: Tokenizer
    sampler: SamplerSettings

    def describe(self) -> dict[str, Any]:
        return {name: getattr(self, name).describe() for name in ("text_encoder", "unet", "vae_decoder")}


def run_finite(engine: Engine, name: str, inputs: dict[str, NDArray[Any]], output: str) -> NDArray[np.float32]:
    """One named output of an engine in float32. Raises EngineError if it is absent or holds NaN or infinity."""
    try:
        result = engine.run(inputs)[output]
    except KeyError as error:
        raise EngineError(f"{name} has no output {output!r}; export it again") from error
    values = np.asarray(result, dtype=np.float32)
    if not np.isfinite(values).all():
        raise EngineError(f"{name} gave values that are not finite, so nothing was drawn; check the engine's precision")
    return values
