from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from pruneguard.evaluation.latency import (
    diffusers_image_call,
    engine_call,
    guided_inputs,
    interleave,
    median_ratio,
    summarise,
    unet_call,
)
from pruneguard.models import Pipeline
from pruneguard.runtime import torch_components


def test_calls_take_turns_and_every_other_round_runs_backwards() -> None:
    order: list[str] = []
    calls = {name: functools.partial(order.append, name) for name in "abc"}
    samples = interleave(calls, runs=3, warmup=1)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(value >= 0 for values in samples.values() for value in values)


def test_a_timing_is_the_median_between_its_quartiles() -> None:
    timing = summarise([5.0, 1.0, 3.0, 2.0, 4.0])
    assert timing.to_dict() == {"median_ms": 3.0, "low_ms": 2.0, "high_ms": 4.0, "runs": 5}
    assert summarise([7.0]).to_dict() == {"median_ms": 7.0, "low_ms": 7.0, "high_ms": 7.0, "runs": 1}


def test_ratios_of_rounds_cancel_a_machine_that_slows_down() -> None:
    slowing = np.linspace(1, 10, 9)
    assert median_ratio(list(2.0 * slowing), list(4.0 * slowing)) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0], [1.0, 2.0])


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
