"""Drawing: prompts and seeds to images, through any engines and with no guard.

Audits, training data and benchmarks draw here; requests of people go through `GuardedSampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import numpy as np

from pruneguard.errors import Cancelled

from ..engines.engine import Components, Engine, EngineError, all_rows
from .coding import Pixels, decode_latents, decode_rows, encode_rows
from .denoising import Denoising, Output, Row
from .noise import draw_noise
from .request import Guidance, Request, RequestOptions, make_request
from .solver import Array, Solver

OnStep = Callable[[int, int, float], None]
IsCancelled = Callable[[], bool]


def denoise(
    unet: Engine,
    latents: Array,
    cond: Array,
    uncond: Array | None,
    solver: Solver[Any],
    guidance_scale: float | Sequence[float],
    *,
    cfg: Guidance = "batched",
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
) -> Array:
    """Standard normal noise (B, C, h, w) to latents of the same shape, with text states `cond`, `uncond` (B, L, D).

    One guidance scale serves all rows, or each has its own; `uncond` may be None if all are 1. `Denoising` explains
    `cfg`. `on_step(index, total, timestep)` is called after each UNet step, `cancelled()` before it.
    Raises Cancelled, EngineError and RequestError.
    """
    scales = np.broadcast_to(np.asarray(guidance_scale, dtype=np.float64), (len(latents),))
    loop = Denoising(unet, cfg=cfg)
    for index, scale in enumerate(scales):
        free = None if uncond is None else uncond[index]
        loop.add(Row(noise=latents[index], cond=cond[index], uncond=free, solver=solver, guidance_scale=float(scale)))
    ended = _run(loop, solver, on_step, cancelled, strict=True)
    return all_rows([ended[ticket] for ticket in sorted(ended)])


def draw(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch_size: int = 8,
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
    **options: Unpack[RequestOptions],
) -> Pixels:
    """Images uint8 (N, H, W, 3) for N prompts and seeds, `batch_size` at a time. See `draw_latents`."""
    request = make_request(components.sampler, prompts=prompts, seeds=seeds, batch_size=batch_size, **options)
    images = []
    for latents in _latent_batches(components, request, on_step, cancelled):
        stop_if(cancelled)
        images.append(decode_latents(components, latents))
    return np.concatenate(images)


def draw_latents(
    components: Components,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch_size: int = 8,
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
    **options: Unpack[RequestOptions],
) -> Array:
    """Latents (N, C, h, w) in the UNet's scale, with the options of `RequestOptions`.

    `on_step` counts the steps of all batches together.
    Raises RequestError before any engine runs, then Cancelled or EngineError.
    """
    request = make_request(components.sampler, prompts=prompts, seeds=seeds, batch_size=batch_size, **options)
    return np.concatenate(list(_latent_batches(components, request, on_step, cancelled)))


def draw_each(
    components: Components,
    request: Request,
    rows: Sequence[int],
    on_step: OnStep | None = None,
    cancelled: IsCancelled | None = None,
    *,
    strict: bool = False,
) -> Iterator[tuple[int, Pixels | EngineError]]:
    """The image (H, W, 3) of each of the request's `rows`, or the EngineError that this image alone failed with.

    With `strict` a batch is given up at its first error. Raises Cancelled.
    """
    for batch, latents in _batches(components, request, rows, on_step, cancelled, strict):
        stop_if(cancelled)
        sound = {index: row for index, row in zip(batch, latents, strict=True) if not isinstance(row, EngineError)}
        pixels: dict[int, Pixels | EngineError] = {}
        if sound:
            try:
                pixels = dict(zip(sound, decode_rows(components, np.stack(list(sound.values()))), strict=True))
            except EngineError as error:
                pixels = dict.fromkeys(sound, error)
        for index, row in zip(batch, latents, strict=True):
            yield index, row if isinstance(row, EngineError) else pixels[index]


def stop_if(cancelled: IsCancelled | None) -> None:
    """Raises Cancelled if the caller asks for it."""
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled by the caller; nothing was drawn")


def _latent_batches(
    components: Components, request: Request, on_step: OnStep | None, cancelled: IsCancelled | None
) -> Iterator[Array]:
    """The latents of a whole request, one batch after another. Raises Cancelled and EngineError."""
    for _, latents in _batches(components, request, range(len(request.prompts)), on_step, cancelled, strict=True):
        yield all_rows(latents)


def _batches(
    components: Components,
    request: Request,
    rows: Sequence[int],
    on_step: OnStep | None,
    cancelled: IsCancelled | None,
    strict: bool,
) -> Iterator[tuple[Sequence[int], list[Output]]]:
    """Batches of the request's `rows`, each with its latents (C, h, w) or errors. Raises Cancelled."""
    solver = components.sampler.build_solver(request.steps)
    starts = range(0, len(rows), request.batch_size)
    calls = len(solver.timesteps)

    def report(batch: int) -> OnStep | None:
        if on_step is None:
            return None
        return lambda index, _, timestep: on_step(batch * calls + index, len(starts) * calls, timestep)

    for number, start in enumerate(starts):
        batch = rows[start : start + request.batch_size]
        stop_if(cancelled)
        yield batch, _denoise_batch(components, request, batch, solver, report(number), cancelled, strict)


def _denoise_batch(
    components: Components,
    request: Request,
    batch: Sequence[int],
    solver: Solver[Any],
    on_step: OnStep | None,
    cancelled: IsCancelled | None,
    strict: bool,
) -> list[Output]:
    rows = _encoded(components, request, batch, solver)
    results: dict[int, Output] = {place: row for place, row in enumerate(rows) if isinstance(row, EngineError)}
    if not (strict and results):
        loop = Denoising(components.unet, cfg=request.cfg)
        places = {loop.add(row): place for place, row in enumerate(rows) if isinstance(row, Row)}
        ended = _run(loop, solver, on_step, cancelled, strict=strict)
        results |= {places[ticket]: output for ticket, output in ended.items()}
    failed = next((row for row in results.values() if isinstance(row, EngineError)), None)
    if strict and failed is not None:
        return [failed for _ in batch]
    return [results[place] for place in range(len(batch))]


def _encoded(
    components: Components, request: Request, batch: Sequence[int], solver: Solver[Any]
) -> list[Row | EngineError]:
    """A row to denoise for each image of a batch, or the error of its text states."""
    guided = [index for index in batch if request.guidance[index] != 1]
    try:
        cond = encode_rows(components, [request.prompts[index] for index in batch])
        negative = encode_rows(components, [request.negatives[index] for index in guided]) if guided else []
    except EngineError as error:
        return [error for _ in batch]
    uncond = dict(zip(guided, negative, strict=True))
    rows: list[Row | EngineError] = []
    for index, text in zip(batch, cond, strict=True):
        free = uncond.get(index)
        if isinstance(text, EngineError):
            rows.append(text)
        elif isinstance(free, EngineError):
            rows.append(free)
        else:
            (noise,) = draw_noise([request.seeds[index]], request.latent_shape)
            scale = request.guidance[index]
            rows.append(Row(noise=noise, cond=text, uncond=free, solver=solver, guidance_scale=scale))
    return rows


def _run(
    loop: Denoising, solver: Solver[Any], on_step: OnStep | None, cancelled: IsCancelled | None, *, strict: bool
) -> dict[int, Output]:
    """Runs rows that share one solver to their end; with `strict`, only to the first error among them."""
    ended: dict[int, Output] = {}
    for index, timestep in enumerate(solver.timesteps):
        if not loop.active:
            break
        stop_if(cancelled)
        ended.update(loop.step())
        if strict and any(isinstance(output, EngineError) for output in ended.values()):
            break
        if on_step is not None:
            on_step(index, len(solver.timesteps), timestep)
    return ended
