from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from pruneguard.evaluation.latency import (
    diffusers_image_call,
    diffusers_scheduler,
    engine_call,
    guided_inputs,
    interleave,
    ratio,
    timing,
    unet_call,
)
from pruneguard.measurement import Measurement, Protocol, show
from pruneguard.models import Pipeline
from pruneguard.runtime import torch_components


def test_calls_take_turns_and_every_other_round_runs_backwards() -> None:
    order: list[str] = []
    calls = {name: functools.partial(order.append, name) for name in "abc"}
    samples = interleave(calls, runs=3, warmup=1)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(value >= 0 for values in samples.values() for value in values)


def test_a_timing_is_the_median_with_its_quartiles() -> None:
    protocol = Protocol(settings={"threads": 2})
    measured = timing("unet/dense", [5.0, 1.0, 3.0, 2.0, 4.0], protocol)
    assert measured == Measurement(
        name="unet/dense",
        value=3.0,
        unit="ms",
        low=2.0,
        high=4.0,
        interval="quartiles",
        count=5,
        protocol=protocol,
    )
    assert show(measured) == "3.0 ms (2.0 ms to 4.0 ms)"
    single = timing("unet/dense", [7.0])
    assert (single.low, single.value, single.high, single.count) == (7.0, 7.0, 7.0, 1)


def test_ratios_of_rounds_cancel_a_machine_that_slows_down() -> None:
    slowing = np.linspace(1, 10, 9)
    measured = ratio("fast to slow", list(2.0 * slowing), list(4.0 * slowing))
    assert (measured.low, measured.value, measured.high, measured.unit) == (0.5, 0.5, 0.5, "ratio")
    with pytest.raises(ValueError, match="zip"):
        ratio("fast to slow", [1.0], [1.0, 2.0])


def test_a_guided_call_has_two_rows_and_is_the_same_for_module_and_engine(tiny_pipeline: Pipeline) -> None:
    inputs = guided_inputs(tiny_pipeline)
    assert {name: value.shape for name, value in inputs.items()} == {
        "sample": (2, 4, 16, 16),
        "timestep": (2,),
        "encoder_hidden_states": (2, 32, 32),
    }
    assert not np.array_equal(*inputs["encoder_hidden_states"])  # the empty prompt and a prompt
    predicted: Any = unet_call(tiny_pipeline.unet, inputs)()
    served: Any = engine_call(torch_components(tiny_pipeline).unet, inputs)()
    torch.testing.assert_close(predicted[0], torch.from_numpy(served["out_sample"]))


def test_diffusers_draws_an_image_with_the_scheduler_of_the_model(tiny_pipeline: Pipeline) -> None:
    drawn: Any = diffusers_image_call(tiny_pipeline, steps=2)()
    assert drawn.images[0].size == (64, 64)


def test_the_baseline_names_the_scheduler_that_the_model_came_with(tiny_pipeline: Pipeline) -> None:
    assert diffusers_scheduler(tiny_pipeline) == "PNDMScheduler"
    tiny_pipeline.scheduler = DDIMScheduler.from_config(tiny_pipeline.scheduler.config, timestep_spacing="leading")
    assert diffusers_scheduler(tiny_pipeline) == "DDIMScheduler"
