"""Drawing: prompts and seeds to images, through any engines and with no guard.

Audits, training data and benchmarks draw here; requests of people go through `GuardedSampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import Cancelled, RequestError

from ..engines.engine import Components, Engine, EngineError, run_finite
from .noise import draw_noise
from .pndm import Array, PndmState, Schedule, make_schedule, pndm_step
from .request import Guidance, Request, check_cfg, make_request

OnStep = Callable[[int, int, int], None]
IsCancelled = Callable[[], bool]


def denoise(
    unet: Engine,
    latents: Array,
    cond: Array,
    uncond: Array | None,
    schedule: Schedule,
    guidance_scale: float | Sequence[float],
    *,
    cfg: Guidance = "batched",
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
) -> Array:
    """Noise (B, C, h, w) to latents of the same shape, with text states `cond` and `uncond` (B, L, D).

    Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): e = e_u + g (e_c - e_u), with one scale g for
    each row; where all are 1 only e_c is computed. `cfg` chooses one engine call of 2B rows or two of B.
    `on_step(index, total, timestep)` comes after each UNet step, `cancelled()` is asked before it.
    Raises Cancelled, EngineError and RequestError.
    """
    check_cfg(cfg)
    scale = np.broadcast_to(np.asarray(guidance_scale, dtype=np.float32), (len(latents),)).reshape(-1, 1, 1, 1)
    predict = _make_predictor(unet, cond, uncond, scale, cfg)
    sample, state = np.array(latents, dtype=np.float32), PndmState()
    for index, timestep in enumerate(schedule.timesteps):
        _stop_if(cancelled)
        sample, state = pndm_step(schedule, state, predict(sample, timestep), sample)
        if on_step is not None:
            on_step(index, len(schedule.timesteps), timestep)
    return sample


def draw(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 25,
    guidance_scale: float | Sequence[float] = 7.5,
    negative_prompt: str | Sequence[str] = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    cfg: Guidance = "batched",
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
) -> NDArray[np.uint8]:
    """Images (N, H, W, 3) for N prompts and seeds, `batch_size` at a time. See `draw_latents`."""
    request = make_request(
        components.sampler,
        prompts=prompts,
        seeds=seeds,
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        batch_size=batch_size,
        cfg=cfg,
    )
    batches = latent_batches(components, request, on_step, cancelled)
    return np.concatenate([decode_latents(components, latents, cancelled) for latents in batches])


def draw_latents(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 25,
    guidance_scale: float | Sequence[float] = 7.5,
    negative_prompt: str | Sequence[str] = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    cfg: Guidance = "batched",
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
) -> Array:
    """Latents (N, C, h, w) in the UNet's scale. `on_step` counts on over all batches.

    Raises RequestError before any engine runs, then Cancelled or EngineError.
    """
    request = make_request(
        components.sampler,
        prompts=prompts,
        seeds=seeds,
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        batch_size=batch_size,
        cfg=cfg,
    )
    return np.concatenate(list(latent_batches(components, request, on_step, cancelled)))


def latent_batches(
    components: Components, request: Request, on_step: OnStep | None, cancelled: IsCancelled | None
) -> Iterator[Array]:
    """The latents of a checked request, one batch after another. Raises Cancelled and EngineError."""
    schedule = make_schedule(components.sampler.scheduler, request.steps)
    starts = range(0, len(request.prompts), request.batch_size)
    calls = len(schedule.timesteps)

    def report(batch: int) -> OnStep | None:
        if on_step is None:
            return None
        return lambda index, _, timestep: on_step(batch * calls + index, len(starts) * calls, timestep)

    for batch, start in enumerate(starts):
        rows = slice(start, start + request.batch_size)
        guided = any(scale != 1 for scale in request.guidance[rows])
        _stop_if(cancelled)
        yield denoise(
            components.unet,
            draw_noise(request.seeds[rows], request.latent_shape),
            encode_prompts(components, request.prompts[rows]),
            encode_prompts(components, request.negatives[rows]) if guided else None,
            schedule,
            request.guidance[rows],
            cfg=request.cfg,
            on_step=report(batch),
            cancelled=cancelled,
        )


def encode_prompts(components: Components, prompts: Sequence[str]) -> Array:
    """Text states (B, L, D); equal prompts are encoded once."""
    distinct = list(dict.fromkeys(prompts))
    ids = components.tokenizer(distinct).ids
    states = run_finite(components.text_encoder, "the text encoder", {"input_ids": ids}, "last_hidden_state")
    return states[[distinct.index(prompt) for prompt in prompts]]


def decode_latents(components: Components, latents: Array, cancelled: IsCancelled | None = None) -> NDArray[np.uint8]:
    """Latents (B, C, h, w) in the UNet's scale to images (B, H, W, 3)."""
    _stop_if(cancelled)
    scaled = latents / np.float32(components.sampler.scaling_factor)
    pixels = run_finite(components.vae_decoder, "the VAE decoder", {"latent_sample": scaled}, "sample")
    levels = np.clip(pixels / 2 + 0.5, 0, 1) * 255
    return np.ascontiguousarray(levels.round().astype(np.uint8).transpose(0, 2, 3, 1))


def _make_predictor(
    unet: Engine, cond: Array, uncond: Array | None, scale: Array, cfg: Guidance
) -> Callable[[Array, int], Array]:
    """The guided prediction (B, C, h, w) at a timestep, as a function of the sample."""

    def call(sample: Array, timestep: int, states: Array) -> Array:
        inputs: dict[str, NDArray[Any]] = {
            "sample": sample,
            "timestep": np.asarray(timestep, dtype=np.int64),
            "encoder_hidden_states": states,
        }
        prediction = run_finite(unet, "the UNet", inputs, "out_sample")
        if prediction.shape != sample.shape:
            raise EngineError(f"the UNet gave shape {prediction.shape} for {sample.shape}; export it again")
        return prediction

    if (scale == 1).all():
        return lambda sample, timestep: call(sample, timestep, cond)
    if uncond is None:
        raise RequestError("guidance_scale other than 1 needs the unconditional text states")
    both = np.concatenate([uncond, cond])

    def guided(sample: Array, timestep: int) -> Array:
        if cfg == "batched":
            without, with_text = np.split(call(np.concatenate([sample, sample]), timestep, both), 2)
        else:
            # The first output is copied, for an engine may write the second one into the same buffer.
            without = call(sample, timestep, uncond).copy()
            with_text = call(sample, timestep, cond)
        mixed: Array = without + scale * (with_text - without)
        return mixed

    return guided


def _stop_if(cancelled: IsCancelled | None) -> None:
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled by the caller; nothing was drawn")
