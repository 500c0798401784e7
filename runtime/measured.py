"""What audits measured, and requests that ask for something else."""

from __future__ import annotations

from collections.abc import Sequence

from pruneguard.bundle import Audit, Space, common_space
from pruneguard.errors import ConfigError, LineageError, RequestError

from .sampling.request import Request
from .sampling.settings import SamplerSettings

_REMEDY = "; allow_unmeasured=True (generate --allow-unmeasured) draws anyway"
_LISTED, _LENGTH = 5, 60
"""How many negative prompts a message lists, and how many characters of each."""


def own_space(sampler: SamplerSettings) -> Space:
    """The model's own number of steps and guidance scale, in its own size and without a negative prompt."""
    return Space.point(sampler.steps, sampler.guidance_scale)


def measured_space(audits: Sequence[Audit], sampler: SamplerSettings) -> Space:
    """The settings that every one of the audits measured; the model's own if there are no audits.

    An audit whose record has no space measured the model's own settings. Raises LineageError for audits that have no
    setting in common.
    """
    own = own_space(sampler)
    try:
        return common_space(audit.space or own for audit in audits) if audits else own
    except ConfigError as error:
        raise LineageError(f"the audits measured different settings: {error}; run `pruneguard audit` again") from error


def check_measured(request: Request, space: Space, sampler: SamplerSettings) -> None:
    """Raises RequestError for steps, a guidance scale, a size or a negative prompt outside the space."""
    least, most = space.steps
    if not least <= request.steps <= most:
        raise RequestError(f"steps must be {_range(least, most)} here: suppression was measured there only{_REMEDY}")
    least_scale, most_scale = space.guidance_scale
    if not all(least_scale <= scale <= most_scale for scale in request.guidance):
        raise RequestError(
            f"guidance_scale must be {_range(least_scale, most_scale)} here: suppression was measured there only"
            f"{_REMEDY}"
        )
    side = sampler.latent_size * sampler.vae_scale
    sizes = [(side, side), *(size for size in space.sizes if size != (side, side))]
    height, width = (latent * sampler.vae_scale for latent in request.latent_shape[1:])
    if (height, width) not in sizes:
        listed = " or ".join(f"{high} × {wide}" for high, wide in sizes)
        raise RequestError(f"height and width must be {listed} here: suppression was measured there only{_REMEDY}")
    if not {*request.negatives} <= {"", *space.negative_prompts}:
        raise RequestError(
            f"negative_prompt must be {_texts(space.negative_prompts)} here: suppression was measured with no other"
            f"{_REMEDY}"
        )


def _range(least: float, most: float) -> str:
    return f"{least:g}" if least == most else f"from {least:g} to {most:g}"


def _texts(texts: Sequence[str]) -> str:
    """The texts that a negative prompt may be, in words."""
    shown = [repr(text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…") for text in texts[:_LISTED]]
    if len(texts) > _LISTED:
        shown.append(f"{len(texts) - _LISTED} more texts")
    return " or ".join(["empty", *shown])
