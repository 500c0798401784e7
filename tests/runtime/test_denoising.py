"""Rows that join and leave one loop get what they get alone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from pruneguard.errors import RequestError
from pruneguard.runtime import Denoising, EngineError, Row, denoise, draw_noise
from pruneguard.runtime.sampling.solvers.pndm import make_pndm
from tests.runtime.engines import Function, predict

SCHEDULER = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "skip_prk_steps": True}


def make_row(seed: int, *, steps: int = 5, scale: float = 7.5, size: tuple[int, int] = (8, 8), **scheduler: Any) -> Row:
    generator = np.random.default_rng(seed)
    cond, uncond = generator.standard_normal((2, 16, 8), dtype=np.float32)
    (noise,) = draw_noise([seed], (4, *size))
    solver = make_pndm({**SCHEDULER, **scheduler}, steps)
    return Row(noise=noise, cond=cond, uncond=None if scale == 1 else uncond, solver=solver, guidance_scale=scale)


def alone(row: Row) -> Any:
    uncond = None if row.uncond is None else row.uncond[None]
    engine = Function(predict, "out_sample")
    return denoise(engine, row.noise[None], row.cond[None], uncond, row.solver, row.guidance_scale)[0]


VARIED = [
    make_row(1),
    make_row(2, steps=9, scale=3.0),
    make_row(3, scale=1.0),
    make_row(4, steps=2, prediction_type="epsilon"),
    make_row(5, steps=6, skip_prk_steps=False, timestep_spacing="linspace"),
    make_row(6, size=(16, 8)),
]


@pytest.mark.parametrize("cfg", ["batched", "sequential"])
def test_rows_added_late_and_dropped_get_the_latents_that_they_get_alone(cfg: Any) -> None:
    loop = Denoising(Function(predict, "out_sample"), cfg=cfg)
    tickets: dict[int, int] = {}
    found: dict[int, Any] = {}
    for number, row in enumerate(VARIED):
        tickets[loop.add(row)] = number
        found.update(loop.step())  # each row begins a step after the one before
        if number == 3:
            loop.drop(next(ticket for ticket, index in tickets.items() if index == 1))
    assert loop.rows == tuple(sorted(tickets.keys() - found.keys() - {1}))
    while loop.active:
        found.update(loop.step())
    assert {tickets[ticket] for ticket in found} == {0, 2, 3, 4, 5}
    for ticket, latents in found.items():
        assert np.array_equal(latents, alone(VARIED[tickets[ticket]]))


def test_a_batcher_with_random_arrivals_and_departures() -> None:
    random, engine = np.random.default_rng(7), Function(predict, "out_sample")
    loop, waiting, place, dropped = Denoising(engine), [make_row(n, steps=2 + n % 7) for n in range(40)], {}, set()
    found: dict[int, Any] = {}
    steps = 0
    while waiting or loop.active:
        for _ in range(min(len(waiting), 6 - loop.active, int(random.integers(0, 4)))):
            row = waiting.pop()
            place[loop.add(row)] = row
        if loop.active and random.random() < 0.25:
            victim = int(random.choice(loop.rows))
            loop.drop(victim)
            dropped.add(victim)
        assert loop.active <= 6
        found.update(loop.step())
        steps += 1
    assert len(found) + len(dropped) == 40 and len(dropped) > 3
    assert engine.calls <= steps  # one call a step
    assert all(np.array_equal(latents, alone(place[ticket])) for ticket, latents in found.items())


def test_a_step_makes_one_call_for_each_latent_size() -> None:
    engine = Function(predict, "out_sample")
    loop = Denoising(engine)
    for row in VARIED:
        loop.add(row)
    loop.step()
    # 5 rows of 8x8, 4 of them guided, and a guided one of 16x8.
    assert (engine.calls, engine.rows) == (2, 9 + 2)


def test_rows_of_one_call_stand_at_different_timesteps() -> None:
    seen: list[list[float]] = []

    def record(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        seen.append(timestep.tolist())
        return predict(sample, timestep, encoder_hidden_states)

    loop = Denoising(Function(record, "out_sample"))
    loop.add(make_row(1, steps=4, scale=1.0))
    loop.step()
    loop.add(make_row(2, steps=10, scale=2.0))
    loop.step()
    assert seen == [[750.0], [900.0, 500.0, 900.0]]  # the unconditional half of the guided row comes first


@pytest.mark.parametrize("half", [0, 1])
def test_a_row_that_is_not_finite_fails_alone(half: int) -> None:
    def broken(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        result = predict(sample, timestep, encoder_hidden_states)
        if len(result) == 6:
            result[half * 3 + 1, 0, 0, 0] = np.nan
        return result

    loop = Denoising(Function(broken, "out_sample"))
    rows = [make_row(seed, steps=3) for seed in (1, 2, 3)]
    tickets = [loop.add(row) for row in rows]
    ((ticket, error),) = loop.step()
    assert ticket == tickets[1] and isinstance(error, EngineError) and "the UNet gave values that are not" in str(error)
    found: dict[int, Any] = {}
    while loop.active:
        found.update(loop.step())
    assert np.array_equal(found[tickets[0]], alone(rows[0])) and np.array_equal(found[tickets[2]], alone(rows[2]))


def test_a_call_that_fails_ends_the_rows_of_its_size_alone() -> None:
    def broken(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        if sample.shape[2] == 16:
            raise EngineError("out of memory")
        return predict(sample, timestep, encoder_hidden_states)

    loop = Denoising(Function(broken, "out_sample"))
    small, large = loop.add(VARIED[0]), loop.add(VARIED[5])
    ((ticket, error),) = loop.step()
    assert ticket == large and str(error) == "out of memory"
    assert loop.rows == (small,)


def test_after_any_other_error_no_row_has_moved() -> None:
    failing = [True]

    def flaky(sample: Any, timestep: Any, encoder_hidden_states: Any) -> Any:
        if sample.shape[2] == 16 and failing:
            raise KeyboardInterrupt
        return predict(sample, timestep, encoder_hidden_states)

    loop = Denoising(Function(flaky, "out_sample"))
    tickets = {loop.add(row): row for row in (VARIED[0], VARIED[5])}
    with pytest.raises(KeyboardInterrupt):
        loop.step()
    failing.clear()
    found: dict[int, Any] = {}
    while loop.active:
        found.update(loop.step())
    assert all(np.array_equal(latents, alone(tickets[ticket])) for ticket, latents in found.items())


def test_memory_of_rows_that_ended_is_released() -> None:
    loop = Denoising(Function(predict, "out_sample"))
    loop.add(make_row(9, steps=20))
    watched = []
    for steps, drop in ((2, False), (9, True)):
        row = make_row(1, steps=steps)
        ticket = loop.add(row)
        loop.step()
        state = loop._rows[ticket].state
        watched += [weakref.ref(array) for array in (row.noise, row.cond, row.uncond, *state.outputs)]
        if drop:
            loop.drop(ticket)
        del row, state
    while loop.active > 1:
        loop.step()
    gc.collect()
    assert [reference() for reference in watched] == [None] * len(watched) and len(watched) == 8


def test_latents_that_ended_are_no_part_of_a_larger_array() -> None:
    loop = Denoising(Function(predict, "out_sample"))
    for seed in range(3):
        loop.add(make_row(seed, steps=2))
    found: list[Any] = []
    while loop.active:
        found += loop.step()
    assert all(latents.base is None for _, latents in found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": np.zeros((1, 4, 8, 8), np.float32)}, r"needs noise \(C, h, w\) and text states \(L, D\)"),
        ({"uncond": None}, "other than 1 needs the unconditional text states"),
        ({"uncond": np.zeros((8, 8), np.float32)}, r"one shape, not \(16, 8\) and \(8, 8\)"),
        ({"guidance_scale": 31.0}, "guidance_scale must be a number from 0 to 30"),
    ],
)
def test_a_wrong_row_is_refused(changes: dict[str, Any], message: str) -> None:
    loop, row = Denoising(Function(predict, "out_sample")), make_row(1)
    with pytest.raises(RequestError, match=message):
        loop.add(Row(**{**vars(row), **changes}))
    assert loop.active == 0
    with pytest.raises(RequestError, match="cfg must be"):
        Denoising(Function(predict, "out_sample"), cfg="both")  # type: ignore[arg-type]
