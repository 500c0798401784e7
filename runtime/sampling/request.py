"""Requests: what is to be drawn, checked before anything is computed."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pruneguard.errors import RequestError

from ..engines.engine import SamplerSettings
from .pndm import MAX_STEPS

MAX_SEED = 2**63 - 1
MAX_GUIDANCE = 30.0
MAX_PROMPT = 2000
MAX_BATCH = 2**16
LATENT_MULTIPLE = 8
MAX_SCALE = 4  # sides, against the model's own: attention costs the fourth power of this in memory

Guidance = Literal["batched", "sequential"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request; one entry for each image in `prompts`, `seeds`, `guidance` and `negatives`.

    It is drawn `batch_size` images at a time, with classifier-free guidance as `cfg` says.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negatives: tuple[str, ...]
    guidance: tuple[float, ...]
    steps: int
    latent_shape: tuple[int, int, int]
    batch_size: int
    cfg: Guidance


def make_request(
    settings: SamplerSettings,
    *,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int | None = None,
    guidance_scale: float | Sequence[float] | None = None,
    negative_prompt: str | Sequence[str] = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    cfg: Guidance = "batched",
) -> Request:
    """Checks all of a request; None stands for the settings' value. Raises RequestError naming the wrong option."""
    if isinstance(prompts, str) or not len(prompts):
        raise RequestError("prompts must be a list of at least one text")
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise RequestError(f"prompt {index} must be a text that is not empty")
        if len(prompt) > MAX_PROMPT:
            raise RequestError(f"prompt {index} must have at most {MAX_PROMPT} characters, not {len(prompt)}")
        _encodable(f"prompt {index}", prompt)
    steps = settings.steps if steps is None else _whole("steps", steps, 1, MAX_STEPS)
    guidance = settings.guidance_scale if guidance_scale is None else guidance_scale
    sides = [_latent_side(name, size, settings) for name, size in (("height", height), ("width", width))]
    return Request(
        prompts=tuple(prompts),
        seeds=tuple(_whole("seed", seed, 0, MAX_SEED) for seed in _rows("seeds", seeds, len(prompts))),
        negatives=tuple(_text(entry) for entry in _rows("negative_prompt", negative_prompt, len(prompts))),
        guidance=tuple(_guidance(entry) for entry in _rows("guidance_scale", guidance, len(prompts))),
        steps=steps,
        latent_shape=(settings.latent_channels, sides[0], sides[1]),
        batch_size=_whole("batch_size", batch_size, 1, MAX_BATCH),
        cfg=check_cfg(cfg),
    )


def check_cfg(cfg: Guidance) -> Guidance:
    """`cfg` itself. Raises RequestError for none of the two."""
    if cfg not in get_args(Guidance):
        raise RequestError(f"cfg must be 'batched' or 'sequential', not {cfg!r}")
    return cfg


def _encodable(name: str, text: str) -> str:
    """The text itself. Raises RequestError for half a surrogate pair, which JSON lets through and tokenizers refuse."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{name} holds half of a surrogate pair; send whole characters") from None
    return text


def _rows(name: str, value: Any, count: int) -> list[Any]:
    """One entry for each image: a single value is repeated, a sequence must have the right length."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return [value] * count
    if len(value) != count:
        raise RequestError(f"{name} has {len(value)} entries for {count} prompts; give one for each")
    return list(value)


def _whole(name: str, value: object, low: int, high: int) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not low <= number <= high:
        raise RequestError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return number


def _guidance(value: object) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MAX_GUIDANCE:
        raise RequestError(f"guidance_scale must be a number from 0 to {MAX_GUIDANCE:g}, not {value!r}")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PROMPT:
        raise RequestError(f"negative_prompt must be a text of at most {MAX_PROMPT} characters")
    return _encodable("negative_prompt", value)


def _latent_side(name: str, pixels: int | None, settings: SamplerSettings) -> int:
    if pixels is None:
        return settings.latent_size
    multiple = LATENT_MULTIPLE * settings.vae_scale
    side = _whole(name, pixels, 1, MAX_SCALE * settings.latent_size * settings.vae_scale)
    if side % multiple:
        raise RequestError(f"{name} must be a multiple of {multiple} pixels for this model, not {pixels}")
    return side // settings.vae_scale
