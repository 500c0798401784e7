"""The settings with which a model is sampled, and the sizes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pruneguard.errors import ConfigError, RequestError
from pruneguard.settings import convert

from .request import check_guidance, check_steps
from .solver import SOLVERS, Solver
from .tokens import LEAST_TOKENS

LEAST_FACTOR, LARGEST_FACTOR = 1e-6, 1e6
RANGES = {
    "latent_channels": (1, 1024),
    "latent_size": (1, 4096),
    "vae_scale": (1, 256),
    "text_tokens": (LEAST_TOKENS, 4096),
}
"""The least and the largest value of each size: beyond these a manifest could ask for any amount of memory."""


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """How a model is sampled by default, and the sizes of its tensors; `asdict` gives the manifest's `sampler`.

    `scheduler` is the content of a diffusers `scheduler_config.json`; `solver` names the entry of SOLVERS that reads
    it. Raises ConfigError for a wrong value.
    """

    scheduler: Mapping[str, Any]
    latent_channels: int
    latent_size: int
    vae_scale: int
    scaling_factor: float
    text_tokens: int
    prediction_type: str
    steps: int = 25
    guidance_scale: float = 7.5
    solver: str = "pndm"

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(f"sampler {name} must be a whole number from {least} to {most}, not {value!r}")
        factor = self.scaling_factor
        if type(factor) not in (int, float) or not LEAST_FACTOR <= factor <= LARGEST_FACTOR:
            raise ConfigError(
                f"sampler scaling_factor must be a number from {LEAST_FACTOR:g} to {LARGEST_FACTOR:g}, not {factor!r}"
            )
        check_steps(self.steps, name="sampler steps", error=ConfigError)
        check_guidance(self.guidance_scale, name="sampler guidance_scale", error=ConfigError)
        if not isinstance(self.scheduler, Mapping):
            raise ConfigError("sampler scheduler must be the content of scheduler_config.json")
        try:
            self.build_solver()
        except RequestError as error:
            raise ConfigError(f"sampler {error}") from error
        if self.scheduler.get("prediction_type", "epsilon") != self.prediction_type:
            raise ConfigError(f"sampler prediction_type {self.prediction_type!r} is not the scheduler's")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> SamplerSettings:
        """Reads the manifest's `sampler`. Raises ConfigError for a wrong, missing or unknown key."""
        return convert(settings, cls, "sampler")

    def build_solver(self, steps: int | None = None) -> Solver[Any]:
        """The solver for `steps`, by default the model's own. Raises RequestError for a wrong number of steps."""
        return SOLVERS.find(self.solver).build(self.scheduler, self.steps if steps is None else steps)


def vae_scale(block_out_channels: Sequence[int]) -> int:
    """Pixels along one side of a latent, of a VAE with that configuration: each level but the last one halves.

    Raises ConfigError for anything but a list of 1 to 9 levels.
    """
    if not isinstance(block_out_channels, list | tuple) or not 1 <= len(block_out_channels) <= 9:
        raise ConfigError(f"VAE block_out_channels must be a list of 1 to 9 numbers, not {block_out_channels!r}")
    return int(2 ** (len(block_out_channels) - 1))
