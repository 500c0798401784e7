"""Requests: what to draw, checked before anything is computed; and the limits of every number in them."""

from __future__ import annotations

import itertools
import math
import operator
import secrets
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from pruneguard.errors import PruneguardError, RequestError, shown

if TYPE_CHECKING:
    from .settings import SamplerSettings

MAX_STEPS = 100
MAX_SEED = 2**63 - 1
MAX_GUIDANCE = 30.0
MAX_PROMPT = 2000
MAX_PROMPTS = 256  # of one call of a guarded sampler; audits draw longer lists
MAX_BATCH = 2**16
LATENT_MULTIPLE = 8
MAX_SIDE = 2**14  # in pixels; a guarded sampler also limits the memory of a request

Guidance = Literal["batched", "sequential"]


class RequestOptions(TypedDict, total=False):
    """The options of a request. What is left out or None is the model's own; the negative prompt is empty by default.

    Guidance and negative prompt serve all images, or each has its own. `height` and `width` are in pixels.
    """

    steps: int | None
    guidance_scale: float | Sequence[float] | None
    negative_prompt: str | Sequence[str]
    height: int | None
    width: int | None
    cfg: Guidance


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request. `prompts`, `seeds`, `guidance` and `negatives` have one entry for each image.

    `batch_size` images are drawn together. `cfg` says how classifier-free guidance calls the UNet.
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
    """Checks all of a request; None takes the settings' value. Raises RequestError, which names the wrong option."""
    if isinstance(prompts, str) or not len(prompts):
        raise RequestError("prompts must be a list of at least one text")
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise RequestError(f"prompt {index} must be a text that is not empty")
        if len(prompt) > MAX_PROMPT:
            raise RequestError(f"prompt {index} must have at most {MAX_PROMPT} characters, not {len(prompt)}")
        _encodable(f"prompt {index}", prompt)
    steps = settings.steps if steps is None else check_steps(steps)
    guidance = settings.guidance_scale if guidance_scale is None else guidance_scale
    sides = [_latent_side(name, size, settings) for name, size in (("height", height), ("width", width))]
    return Request(
        prompts=tuple(prompts),
        seeds=tuple(_whole("seed", seed, 0, MAX_SEED) for seed in _rows("seeds", seeds, len(prompts))),
        negatives=tuple(_text(entry) for entry in _rows("negative_prompt", negative_prompt, len(prompts))),
        guidance=tuple(check_guidance(entry) for entry in _rows("guidance_scale", guidance, len(prompts))),
        steps=steps,
        latent_shape=(settings.latent_channels, sides[0], sides[1]),
        batch_size=_whole("batch_size", batch_size, 1, MAX_BATCH),
        cfg=check_cfg(cfg),
    )


def read_prompts(prompt: str | Iterable[str]) -> list[str]:
    """The prompts of one call: a text is one prompt. Raises RequestError for more than MAX_PROMPTS of them.

    Nothing is read beyond that number, so a generator without an end is refused too.
    """
    if isinstance(prompt, str):
        return [prompt]
    try:
        prompts = list(itertools.islice(prompt, MAX_PROMPTS + 1))
        count = len(prompt) if isinstance(prompt, Sized) else len(prompts)
    except Exception as error:  # an iterator of the caller may raise anything
        raise RequestError(f"prompt must be a text or a list of texts, not {shown(prompt)}") from error
    if len(prompts) > MAX_PROMPTS:
        raise RequestError(f"a call may have at most {MAX_PROMPTS} prompts, not {count}; make several calls")
    return prompts


def check_callbacks(**callbacks: object) -> None:
    """Raises RequestError, which names the argument, for a callback that is neither None nor callable."""
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise RequestError(f"{name} must be a function or None, not {shown(callback)}")


def spread_seeds(seed: int | Sequence[int] | None, count: int) -> Sequence[int]:
    """One seed for each of `count` images: a single one counts up, None draws them. Raises RequestError."""
    if seed is None:
        return [secrets.randbelow(2**32) for _ in range(count)]
    if isinstance(seed, int) and not isinstance(seed, bool):
        if not 0 <= seed <= MAX_SEED - count + 1:
            raise RequestError(f"seed must be from 0 to {MAX_SEED - count + 1} for {count} prompts, not {shown(seed)}")
        return range(seed, seed + count)
    if isinstance(seed, bool) or not isinstance(seed, Sequence):
        raise RequestError(f"seed must be a whole number or a list of them, not {shown(seed)}")
    return seed


def check_cfg(cfg: Guidance) -> Guidance:
    """Returns `cfg`. Raises RequestError unless it is 'batched' or 'sequential'."""
    if not isinstance(cfg, str) or cfg not in get_args(Guidance):
        raise RequestError(f"cfg must be 'batched' or 'sequential', not {shown(cfg)}")
    return cfg


def check_steps(value: object, *, name: str = "steps", error: type[PruneguardError] = RequestError) -> int:
    """A number of sampling steps, from 1 to MAX_STEPS. Raises `error`, which calls the number `name`."""
    return _whole(name, value, 1, MAX_STEPS, error)


def check_guidance(
    value: object, *, name: str = "guidance_scale", error: type[PruneguardError] = RequestError
) -> float:
    """A guidance scale, from 0 to MAX_GUIDANCE. Raises `error`, which calls the number `name`."""
    try:
        text = isinstance(value, (bool, str, bytes, bytearray))
        number = math.nan if text else float(value)  # type: ignore[arg-type]
    except Exception:  # a value of any type may come here, and its own conversion may raise anything
        number = math.nan
    if not 0 <= number <= MAX_GUIDANCE:
        raise error(f"{name} must be a number from 0 to {MAX_GUIDANCE:g}, not {shown(value)}")
    return number


def _encodable(name: str, text: str) -> str:
    """Returns the text. Raises RequestError for half a surrogate pair, which JSON accepts and tokenizers do not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{name} holds half of a surrogate pair; send whole characters") from None
    return text


def _rows(name: str, value: Any, count: int) -> list[Any]:
    """One entry for each image: a single value is repeated, a sequence must have the right length."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return [value] * count
    try:
        given = len(value)
        entries = list(value) if given == count else []
    except Exception as error:  # an array without axes, a range beyond all bounds, or a type that refuses
        raise RequestError(f"{name} must be one value or a list of {count}, not {shown(value)}") from error
    if given != count:
        raise RequestError(f"{name} has {given} entries for {count} prompts; give one for each")
    return entries


def _whole(name: str, value: object, low: int, high: int, error: type[PruneguardError] = RequestError) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except Exception:  # a value of any type may come here, and its own conversion may raise anything
        number = -1
    if not low <= number <= high:
        raise error(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PROMPT:
        raise RequestError(f"negative_prompt must be a text of at most {MAX_PROMPT} characters")
    return _encodable("negative_prompt", value)


def _latent_side(name: str, pixels: int | None, settings: SamplerSettings) -> int:
    if pixels is None:
        return settings.latent_size
    multiple = LATENT_MULTIPLE * settings.vae_scale
    side = _whole(name, pixels, 1, MAX_SIDE)
    if side % multiple:
        raise RequestError(f"{name} must be a multiple of {multiple} pixels for this model, not {pixels}")
    return side // settings.vae_scale
