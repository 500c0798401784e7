"""Latency of calls that take turns. On a shared machine only ratios within one run can be trusted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.measurement import Measurement, Protocol, Unit
from pruneguard.runtime.engines.engine import Engine

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Call = Callable[[], object]
PROMPT = "a red star in flat style"
TIMESTEP = 500
NO_PROTOCOL = Protocol()


def interleave(calls: Mapping[str, Call], *, runs: int, warmup: int = 2) -> dict[str, list[float]]:
    """Milliseconds of each call, `runs` values by name. The calls take turns: A B C, C B A, A B C, …"""
    names = list(calls)
    for _ in range(warmup):
        for name in names:
            calls[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        for name in names if run % 2 == 0 else reversed(names):
            started = time.perf_counter()
            calls[name]()
            samples[name].append((time.perf_counter() - started) * 1e3)
    return samples


def timing(name: str, samples: Sequence[float], protocol: Protocol = NO_PROTOCOL) -> Measurement:
    """Milliseconds: the median with its quartiles."""
    return _measured(name, samples, "ms", protocol)


def ratio(
    name: str, numerator: Sequence[float], denominator: Sequence[float], protocol: Protocol = NO_PROTOCOL
) -> Measurement:
    """The median of the round-by-round ratios with its quartiles. A machine's drift cancels in such ratios.

    Raises ValueError for samples of different lengths.
    """
    return _measured(name, [a / b for a, b in zip(numerator, denominator, strict=True)], "ratio", protocol)


def median_and_quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Median, first and third quartile; a single value is all three."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return median, low, high


def _measured(name: str, samples: Sequence[float], unit: Unit, protocol: Protocol) -> Measurement:
    median, low, high = median_and_quartiles(samples)
    return Measurement(
        name=name,
        value=median,
        unit=unit,
        low=low,
        high=high,
        interval="quartiles",
        count=len(samples),
        protocol=protocol,
    )


def guided_inputs(pipeline: Pipeline) -> dict[str, NDArray[Any]]:
    """The inputs of one UNet call of a guided image: noise (2, C, h, w), timesteps (2,), text states (2, L, D)."""
    shape = (2, pipeline.latent_channels, pipeline.latent_size, pipeline.latent_size)
    return {
        "sample": np.random.default_rng(0).standard_normal(shape, np.float32),
        "timestep": np.full(2, TIMESTEP, np.float32),
        "encoder_hidden_states": pipeline.encode_text(["", PROMPT]).float().cpu().numpy(),
    }


def unet_call(unet: Any, inputs: Mapping[str, NDArray[Any]]) -> Call:
    """One call of a torch UNet on the CPU."""
    import torch

    unet = unet.eval().to("cpu")
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}

    def call() -> object:
        with torch.inference_mode():
            return unet(**given, return_dict=False)

    return call


def engine_call(engine: Engine, inputs: Mapping[str, NDArray[Any]]) -> Call:
    """One call of a UNet engine, for the output that sampling uses."""
    return lambda: engine.run(dict(inputs), ("out_sample",))


def diffusers_scheduler(pipeline: Pipeline) -> str:
    """The class name of the scheduler with which `diffusers_image_call` draws: the one that the model came with."""
    return type(pipeline.scheduler).__name__


def diffusers_image_call(pipeline: Pipeline, *, steps: int = 25, guidance_scale: float = 7.5) -> Call:
    """One image, batch 1, by diffusers' StableDiffusionPipeline with the scheduler that the model came with.

    `diffusers_scheduler` names it; the number of UNet calls depends on it.
    """
    import torch

    drawing = pipeline.to_diffusers()
    drawing.set_progress_bar_config(disable=True)

    def call() -> object:
        generator = torch.Generator().manual_seed(0)
        return drawing(PROMPT, num_inference_steps=steps, guidance_scale=guidance_scale, generator=generator)

    return call
