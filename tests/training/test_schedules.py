"""Schedules on two convex losses in the plane, and what each promises about order, rates, clipping and going on.

The upper level has f(theta) = 1/2 |theta - A|^2, the lower one g(theta) = 1/2 (theta_1 - B)^2, whose minimum is a line.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneguard.errors import ConfigError
from pruneguard.settings import Choice
from pruneguard.training.schedules.contract import SCHEDULES, Counters, Gradient, Level, Pacing, Schedule, Step
from pruneguard.training.schedules.penalty import penalised
from pruneguard.training.schedules.rate import LevelSettings, learning_rate

A, B = (1.0, 1.0), -1.0
STEPS = 400
COSINE = LevelSettings(lr=0.05, warmup=0, decay="cosine")
PACING = Pacing(STEPS, COSINE, COSINE)


class Plane:
    """Both levels on one point of the plane; `calls` keeps what was asked for."""

    def __init__(self, start: tuple[float, float] = (0.0, 0.0)) -> None:
        self.theta = nn.Parameter(torch.tensor(start))
        self.parameters: dict[Level, Mapping[str, nn.Parameter]] = {
            "lower": {"theta": self.theta},
            "upper": {"theta": self.theta},
        }
        self.calls: list[tuple[Level, int]] = []

    def gradient(self, level: Level, number: int) -> Gradient:
        assert self.theta.grad is None
        self.calls.append((level, number))
        theta = self.theta.detach()
        difference = theta - torch.tensor(A) if level == "upper" else torch.stack([theta[0] - B, torch.tensor(0.0)])
        return Gradient({"theta": difference.clone()}, {"loss": float(0.5 * difference.square().sum())})


class Constant:
    """Both levels with a gradient of ones, along which AdamW moves by the rate. The upper level has one parameter."""

    def __init__(self, *, upper: bool = True) -> None:
        self.shared, self.lower_only = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.parameters: dict[Level, Mapping[str, nn.Parameter]] = {
            "lower": {"shared": self.shared, "only": self.lower_only}
        }
        if upper:
            self.parameters["upper"] = {"shared": self.shared}
        self.calls: list[tuple[Level, int]] = []

    def gradient(self, level: Level, number: int) -> Gradient:
        self.calls.append((level, number))
        return Gradient({name: torch.ones(1) for name in self.parameters[level]}, {"loss": 1.0})


class Edited(Constant):
    """The upper level edits its parameter and has no gradient."""

    def gradient(self, level: Level, number: int) -> Gradient:
        if level == "lower":
            return super().gradient(level, number)
        self.calls.append((level, number))
        with torch.no_grad():
            self.shared.fill_(10.0 * (number + 1))
        return Gradient({}, {}, edited=True)


def build(levels: Plane | Constant, name: str, pacing: Pacing = PACING, **options: Any) -> Schedule:
    settings = SCHEDULES.settings(Choice(name, options))
    return SCHEDULES.find(name).build(levels.parameters, settings, pacing)


def end_of(name: str, **options: Any) -> list[float]:
    plane = Plane()
    steps = list(build(plane, name, **options).run(plane, Counters()))
    assert steps[-1].at.event == len(steps)
    return plane.theta.tolist()


# --- where each schedule ends ---


def test_two_stage_ends_where_suppression_alone_would() -> None:
    assert end_of("two-stage", upper_steps=STEPS) == pytest.approx(A, abs=1e-3)


def test_erase_first_ends_at_the_lower_minimum_nearest_to_the_erased_point() -> None:
    assert end_of("erase-first", upper_steps=STEPS) == pytest.approx((B, A[1]), abs=1e-3)


@pytest.mark.parametrize("weight", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("copy", [False, True])
def test_penalty_ends_at_the_minimum_of_the_weighted_sum(weight: float, copy: bool) -> None:
    # f + weight g is least where theta_1 - A_1 + weight (theta_1 - B) = 0 and theta_2 = A_2.
    expected = ((A[0] + weight * B) / (1 + weight), A[1])
    assert end_of("penalty", weight=weight, copy=copy, inner=2) == pytest.approx(expected, abs=1e-3)


def test_alternating_ends_between_both_minima() -> None:
    first, second = end_of("alternating", every=2)
    assert B < first < A[0]
    assert second == pytest.approx(A[1], abs=1e-3)


# --- order, rates and clipping ---


def test_alternating_takes_an_upper_step_after_every_few_lower_ones_at_rates_of_their_own() -> None:
    levels = Constant()
    pacing = Pacing(5, LevelSettings(lr=0.1, warmup=0), LevelSettings(lr=0.5, warmup=2))
    schedule = build(levels, "alternating", pacing, every=2)
    steps = list(schedule.run(levels, Counters()))
    assert levels.calls == [
        ("lower", 0),
        ("lower", 1),
        ("upper", 0),
        ("lower", 2),
        ("lower", 3),
        ("upper", 1),
        ("lower", 4),
    ]
    assert [step.at for step in steps] == [
        Counters(1, 1, 0),
        Counters(2, 2, 1),
        Counters(3, 3, 1),
        Counters(4, 4, 2),
        Counters(5, 5, 2),
    ]
    assert steps[1].measured == {"lower/loss": 1.0, "lower/lr": 0.1, "upper/loss": 1.0, "upper/lr": 0.25}
    assert steps[3].measured["upper/lr"] == 0.5
    assert levels.lower_only.item() == pytest.approx(-5 * 0.1, rel=1e-4)
    assert levels.shared.item() == pytest.approx(-5 * 0.1 - 0.25 - 0.5, rel=1e-4)


@pytest.mark.parametrize(("every", "turns", "due"), [(2, 3, [1, 3, 4, 6, 7]), (3, 2, [0, 1, 2, 2, 3])])
def test_alternating_takes_an_upper_step_of_each_concept_between_the_lower_ones(
    every: int, turns: int, due: list[int]
) -> None:
    levels = Constant()
    schedule = build(levels, "alternating", replace(PACING, steps=5, turns=turns), every=every)
    steps = list(schedule.run(levels, Counters()))
    assert [step.at.upper for step in steps] == due
    assert [number for level, number in levels.calls if level == "upper"] == list(range(due[-1]))
    # The rate decays over all upper steps.
    rates = [step.measured["upper/lr"] for step in steps if "upper/lr" in step.measured]
    assert rates[-1] == learning_rate(due[-1] - 1, due[-1], COSINE)


class Turning(Plane):
    """The upper level pulls to A in one turn and to -A in the next."""

    def gradient(self, level: Level, number: int) -> Gradient:
        found = super().gradient(level, number)
        if level == "lower" or number % 2 == 0:
            return found
        return Gradient({"theta": self.theta.detach() + torch.tensor(A)}, {"loss": 3.0})


def test_penalty_follows_the_mean_of_the_concepts() -> None:
    plane = Turning(start=(B, 2.0))
    schedule = build(plane, "penalty", replace(PACING, steps=1, turns=2), weight=1.0)
    (step,) = schedule.run(plane, Counters())
    assert step.at == Counters(1, 1, 2)
    assert plane.calls == [("lower", 0), ("upper", 0), ("upper", 1)]
    # At (B, 2) the pulls to A and -A have the mean theta itself.
    assert step.measured["upper/gradient_norm"] == pytest.approx(math.hypot(B, 2.0))
    assert step.measured["upper/loss"] == pytest.approx((0.5 * ((B - A[0]) ** 2 + (2.0 - A[1]) ** 2) + 3.0) / 2)


@pytest.mark.parametrize("name", ["two-stage", "erase-first"])
def test_stages_have_the_upper_steps_of_each_concept(name: str) -> None:
    levels = Constant()
    schedule = build(levels, name, replace(PACING, steps=4, turns=3), upper_steps=2)
    assert list(schedule.run(levels, Counters()))[-1].at == Counters(10, 4, 6)


@pytest.mark.parametrize(("name", "first"), [("two-stage", "lower"), ("erase-first", "upper")])
def test_stages_follow_each_other_and_rates_decay_over_each_levels_own_steps(name: str, first: Level) -> None:
    levels = Constant()
    steps = list(build(levels, name, Pacing(4, COSINE, COSINE), upper_steps=2).run(levels, Counters()))
    lower: list[tuple[Level, int]] = [("lower", number) for number in range(4)]
    upper: list[tuple[Level, int]] = [("upper", number) for number in range(2)]
    assert levels.calls == (lower + upper if first == "lower" else upper + lower)
    assert steps[-1].at == Counters(6, 4, 2)
    rates = {
        level: [step.measured[f"{level}/lr"] for step in steps if f"{level}/lr" in step.measured]
        for level in ("lower", "upper")
    }
    assert rates["upper"] == pytest.approx([0.05, 0.025])
    assert rates["lower"] == pytest.approx([learning_rate(step, 4, COSINE) for step in range(4)])


def test_a_limit_clips_the_norm_of_the_combined_gradient() -> None:
    for weight in (1.0, 100.0):
        plane, seen = Plane(start=(A[0], 0.0)), list[Tensor]()
        schedule = build(plane, "penalty", Pacing(1, COSINE, COSINE, max_grad_norm=0.5), weight=weight)
        optimiser = schedule.optimisers["joint"]

        def note(*_: Any, plane: Plane = plane, seen: list[Tensor] = seen) -> None:
            assert plane.theta.grad is not None
            seen.append(plane.theta.grad.clone())

        optimiser.register_step_pre_hook(note)
        (step,) = schedule.run(plane, Counters())
        # At (A_1, 0): grad f = (0, -1), grad g = (A_1 - B, 0) = (2, 0).
        assert step.measured["upper/gradient_norm"] == pytest.approx(1.0)
        assert step.measured["lower/weighted_gradient_norm"] == pytest.approx(2.0 * weight)
        assert seen[0].norm().item() == pytest.approx(0.5, rel=1e-4)
        assert (seen[0][0] / seen[0][1]).item() == pytest.approx(-2.0 * weight)


def test_the_penalised_sum_has_the_size_of_the_lower_gradient() -> None:
    upper, lower = {"a": torch.tensor([2.0]), "b": torch.tensor([4.0])}, {"b": torch.tensor([1.0]), "c": torch.ones(1)}
    combined = penalised(upper, lower, 4.0, ["a", "b", "c", "d"])
    assert {name: tensor.item() for name, tensor in combined.items()} == {"a": 0.5, "b": 2.0, "c": 1.0}
    combined = penalised(upper, lower, 0.5, ["a", "b", "c"])
    assert {name: tensor.item() for name, tensor in combined.items()} == {"a": 2.0, "b": 4.5, "c": 0.5}


def test_the_copy_descends_the_lower_loss_and_tells_the_gap() -> None:
    plane, without = Plane(), Plane()
    schedule = build(plane, "penalty", weight=1.0, copy=True, inner=3)
    steps = list(schedule.run(plane, Counters()))
    list(build(without, "penalty", weight=1.0).run(without, Counters()))
    assert torch.equal(plane.theta, without.theta)  # the copy never changes where theta goes
    assert schedule.state_dict()["copy.theta"].tolist() == pytest.approx([B, 0.0], abs=1e-3)
    last = steps[-1].measured
    assert last["gap"] == pytest.approx(0.5 * (0.0 - B) ** 2, abs=1e-3)
    assert last["gap"] == pytest.approx(last["lower/loss"] - last["copy/loss"])
    assert set(schedule.optimisers) == {"joint", "copy"}


# --- edits ---


@pytest.mark.parametrize("name", ["alternating", "two-stage", "erase-first"])
def test_after_an_edit_no_optimiser_moves_the_upper_level(name: str) -> None:
    levels = Edited()
    options = {"every": 1} if name == "alternating" else {"upper_steps": 2}
    schedule = build(levels, name, Pacing(2, COSINE, COSINE), **options)
    steps = list(schedule.run(levels, Counters()))
    assert steps[-1].at.upper == 2
    assert not schedule.optimisers["upper"].state
    assert not any(measured.startswith("upper/lr") for step in steps for measured in step.measured)
    if name != "erase-first":
        assert levels.shared.item() == 20.0


def test_penalty_refuses_edits() -> None:
    levels = Edited()
    with pytest.raises(ConfigError, match="'penalty' needs the upper level's gradient, and this eraser edits"):
        list(build(levels, "penalty").run(levels, Counters()))
    able = [name for name in SCHEDULES.names() if SCHEDULES.find(name).build.takes_edits]
    assert {"alternating", "two-stage", "erase-first"} <= set(able)
    assert "penalty" not in able


# --- going on ---

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("alternating", {"every": 2}),
    ("two-stage", {"upper_steps": 3}),
    ("erase-first", {"upper_steps": 3}),
    ("penalty", {}),
    ("penalty", {"copy": True, "inner": 2}),
]


@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_schedule_goes_on_from_its_counters(name: str, options: dict[str, Any], turns: int) -> None:
    pacing = replace(PACING, steps=5, turns=turns)
    whole = Plane()
    schedule = build(whole, name, pacing, **options)
    steps: list[Step] = list(schedule.run(whole, Counters()))
    assert len(steps) == schedule.events
    for stop in range(1, schedule.events):
        part = Plane()
        first = build(part, name, pacing, **options)
        *_, last = itertools.islice(first.run(part, Counters()), stop)
        second = build(part, name, pacing, **options)
        for key, optimiser in first.optimisers.items():
            second.optimisers[key].load_state_dict(optimiser.state_dict())
        second.load_state_dict(first.state_dict())
        rest = list(second.run(part, last.at))
        assert [step.at for step in rest] == [step.at for step in steps[stop:]]
        assert rest[-1].measured == steps[-1].measured
        assert part.calls == whole.calls
        assert torch.equal(part.theta, whole.theta)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_without_upper_parameters_it_is_plain_training(name: str, options: dict[str, Any]) -> None:
    levels = Constant(upper=False)
    schedule = build(levels, name, Pacing(2, COSINE, COSINE), **options)
    steps = list(schedule.run(levels, Counters()))
    assert [step.at for step in steps] == [Counters(1, 1, 0), Counters(2, 2, 0)]
    assert "upper" not in schedule.optimisers
    assert {level for level, _ in levels.calls} == {"lower"}


# --- settings ---


def test_adamw_is_the_papers() -> None:
    levels = Constant()
    optimiser = build(levels, "alternating", Pacing(20)).optimisers["lower"]
    assert isinstance(optimiser, torch.optim.AdamW)
    defaults = optimiser.defaults
    assert (defaults["betas"], defaults["eps"], defaults["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.0)
    assert optimiser.param_groups[0]["param_names"] == ["shared", "only"]


def test_learning_rate() -> None:
    constant = LevelSettings(lr=1.0, warmup=4)
    assert [learning_rate(step, 100, constant) for step in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = LevelSettings(lr=1.0, warmup=10, decay="cosine")
    assert learning_rate(10, 110, cosine) == 1.0
    assert learning_rate(60, 110, cosine) == pytest.approx(0.5)
    assert learning_rate(85, 110, cosine) == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))
    assert learning_rate(5, 5, cosine) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("alternatin", {}, r"unknown schedule 'alternatin': did you mean 'alternating'\?"),
        ("alternating", {"every": 0}, "'alternating': `every` is 0; it must be at least 1"),
        ("alternating", {"evry": 2}, r"schedule 'alternating': unknown setting 'evry': did you mean 'every'\?"),
        ("two-stage", {"upper_steps": 0}, "`upper_steps` is 0; it must be at least 1"),
        ("penalty", {"weight": 0.0}, "'penalty': `weight` is 0.0; it must be above 0"),
        ("penalty", {"weight": math.inf}, "`weight` is inf"),
        ("penalty", {"inner": 0}, "`inner` is 0; it must be at least 1"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        SCHEDULES.settings(Choice(name, options))


def test_a_run_without_an_upper_step_is_refused_by_the_schedule_that_would_have_none() -> None:
    with pytest.raises(ConfigError, match="`every` 3 is above `steps` 2: no upper step would run; raise steps"):
        SCHEDULES.settings(Choice("alternating", {"every": 3})).check(2)
    for name in ("two-stage", "erase-first", "penalty"):
        SCHEDULES.settings(name).check(1)


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"lr": math.nan}, {"warmup": -1}, {"decay": "x"}, {"betas": (0.9, 1.0)}, {"eps": 0.0}]
)
def test_wrong_rates_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"level: `{next(iter(wrong))}`"):
        LevelSettings(**wrong)
