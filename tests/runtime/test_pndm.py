"""PNDM against diffusers' own class, call by call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import PNDMScheduler

from pruneguard.errors import ConfigError, RequestError
from pruneguard.runtime.sampling.solvers.pndm import PndmState, make_pndm, pndm_step

STABLE_DIFFUSION: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "steps_offset": 1,
}
CURVED_BETAS = [0.001 + 0.01 * (i / 999) ** 2 for i in range(1000)]
# The numbers of steps at which diffusers' `trailing` slips, by the number of training timesteps.
SLIPS = {
    100: [29, 31, 58, 62, 97],
    128: [49, 98],
    250: [61],
    333: [41, 61, 81, 82],
    500: [61],
    999: [13, 15, 23, 26, 30, 46, 52, 53, 60, 92],
    1000: [61],
    1500: [57, 91],
    2000: [61],
    4000: [61],
}


def model(sample: Any, timestep: int) -> Any:
    """A smooth stand-in for a UNet."""
    return 0.6 * sample + (timestep / 1000 - 0.3)


def differences(steps: int, **changes: Any) -> tuple[float, float]:
    """The largest differences from diffusers, relative to the largest sample: of one call, and at any time of a run.

    Both samplers get the same outputs. PyTorch's square root is off by a last bit on some processors; with an exact one
    both samplers are equal bit for bit.
    """
    config = {**STABLE_DIFFUSION, **changes}
    reference = PNDMScheduler(**config)
    reference.set_timesteps(steps)
    solver = make_pndm(config, steps)
    assert list(solver.timesteps) == reference.timesteps.tolist()
    random = np.random.default_rng(steps)
    theirs = torch.from_numpy(random.standard_normal((2, 1, 2, 3), dtype=np.float32))
    ours, free = PndmState(), PndmState()
    sample = theirs.numpy().copy()
    call, run, size = 0.0, 0.0, 1.0
    for timestep in solver.timesteps:
        output = random.standard_normal(sample.shape, dtype=np.float32)
        after, ours = pndm_step(solver, ours, output, theirs.numpy())
        sample, free = pndm_step(solver, free, output, sample)
        theirs = reference.step(torch.from_numpy(output), timestep, theirs).prev_sample
        assert after.dtype == sample.dtype == np.float32
        call = max(call, float(np.abs(after - theirs.numpy()).max()))
        run = max(run, float(np.abs(sample - theirs.numpy()).max()))
        size = max(size, float(np.abs(sample).max()))
    return call / size, run / size


def assert_equal_to_diffusers(steps: int, **changes: Any) -> None:
    call, run = differences(steps, **changes)
    assert call <= 1e-6, f"{steps} steps, {changes}: one call differs by {call}"
    assert run <= 3e-6, f"{steps} steps, {changes}: a run differs by {run}"


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_equals_diffusers_for_every_number_of_steps(skip: bool, prediction: str) -> None:
    for steps in range(1 if skip else 4, 101):
        assert_equal_to_diffusers(steps, skip_prk_steps=skip, prediction_type=prediction)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("to_one", [True, False])
def test_equals_diffusers_for_spacings_and_ends(skip: bool, spacing: str, offset: int, to_one: bool) -> None:
    changes = {"skip_prk_steps": skip, "timestep_spacing": spacing, "steps_offset": offset, "set_alpha_to_one": to_one}
    for steps in (4, 7, 25, 50, 99):
        for prediction in ("epsilon", "v_prediction"):
            assert_equal_to_diffusers(steps, prediction_type=prediction, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": CURVED_BETAS},
        {"num_train_timesteps": 500},
        {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "set_alpha_to_one": True},
    ],
)
def test_equals_diffusers_for_beta_schedules(changes: dict[str, Any]) -> None:
    config = {**STABLE_DIFFUSION, **changes}
    reference = PNDMScheduler(**config).alphas_cumprod.numpy()
    assert np.array_equal(make_pndm(config, 10).alphas_cumprod, reference)
    for steps in (1, 2, 3, 5, 25, 100):
        assert_equal_to_diffusers(steps, **changes)


@pytest.mark.parametrize("count", [100, 128, 250, 333, 500, 999, 1000, 1500, 2000, 4000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_every_number_of_steps_has_the_timesteps_of_diffusers_without_its_slip(spacing: str, count: int) -> None:
    """With `trailing` diffusers has one timestep too many, -1, where rounding makes its division longer by one."""
    slips = []
    for steps in range(1, 101):
        config = {"skip_prk_steps": True, "timestep_spacing": spacing, "num_train_timesteps": count}
        reference = PNDMScheduler(**config)
        reference.set_timesteps(steps)
        ours = list(make_pndm(config, steps).timesteps)
        assert len(set(ours)) == steps and len(ours) == max(1, steps + (steps > 1))
        assert ours == sorted(ours, reverse=True) and ours[-1] >= 0 and ours[0] < count
        if ours != reference.timesteps.tolist():
            assert [*ours, -1] == reference.timesteps.tolist()
            slips.append(steps)
    assert slips == (SLIPS[count] if spacing == "trailing" else [])


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (2, 3), (25, 26), (50, 51)])
def test_counts_of_calls(steps: int, calls: int) -> None:
    assert len(make_pndm(STABLE_DIFFUSION, steps).timesteps) == calls


def test_runge_kutta_warm_up_costs_nine_more_calls() -> None:
    assert len(make_pndm({}, 25).timesteps) == 34


def test_a_reused_output_buffer_changes_nothing() -> None:
    solver = make_pndm(STABLE_DIFFUSION, 25)
    noise = np.random.default_rng(0).standard_normal((1, 2, 4, 4), dtype=np.float32)
    results = []
    for reuse in (False, True):
        buffer, sample, state = np.empty_like(noise), noise.copy(), PndmState()
        for timestep in solver.timesteps:
            output = model(sample, timestep)
            if reuse:
                buffer[...] = output
                output = buffer
            sample, state = pndm_step(solver, state, output, sample)
        results.append(sample)
    assert np.array_equal(results[0], results[1])


def test_a_step_is_a_function_of_its_arguments() -> None:
    solver = make_pndm(STABLE_DIFFUSION, 10)
    sample = np.ones((1, 1, 2, 2), dtype=np.float32)
    output = np.full_like(sample, 0.5)
    _, state = pndm_step(solver, PndmState(), output, sample)
    first, _ = pndm_step(solver, state, output, sample)
    second, _ = pndm_step(solver, state, output, sample)
    assert np.array_equal(first, second)
    assert (sample == 1).all() and (output == 0.5).all()


@pytest.mark.parametrize("steps", [0, 101, -1, 2.5, True, "25"])
def test_a_wrong_number_of_steps_is_refused(steps: Any) -> None:
    with pytest.raises(RequestError, match="steps must be a whole number from 1 to 100"):
        make_pndm(STABLE_DIFFUSION, steps)


def test_warm_up_needs_four_steps_as_in_diffusers() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        PNDMScheduler(skip_prk_steps=False).set_timesteps(3)
    with pytest.raises(RequestError, match="at least 4"):
        make_pndm({}, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_schedule": "sigmoid"}, "beta_schedule"),
        ({"timestep_spacing": "karras"}, "timestep_spacing"),
        ({"prediction_type": "sample"}, "prediction_type"),
        ({"rescale_betas_zero_snr": True}, "zero SNR"),
        ({"steps_offset": 500}, "steps_offset 500"),
        ({"trained_betas": [0.1, 0.2]}, "1000 values"),
        ({"beta_end": 2.0}, "betas must rise"),
        ({"num_train_timesteps": 10}, "at least 100"),
        ({"num_train_timesteps": 10**9}, "at most 100000"),
        ({"num_train_timesteps": "1000"}, "`num_train_timesteps`: Expected `int`, got `str`"),
        ({"trained_betas": ["0.1", None]}, r"`trained_betas\[0\]`: Expected `float`, got `str`"),
        ({"trained_betas": 5}, "`trained_betas`: Expected `array | null`, got `int`"),
        ({"beta_start": None}, "`beta_start`: Expected `float`, got `null`"),
        ({"beta_end": 10**400}, "`beta_end`: Number out of range"),
        ({"beta_schedule": []}, "`beta_schedule`: Expected `str`, got `array`"),
        ({"_class_name": []}, r"the model's scheduler is \[\]"),
    ],
)
def test_a_wrong_scheduler_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_pndm({**STABLE_DIFFUSION, **changes}, 25)
