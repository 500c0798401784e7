from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pruneguard.errors import ConfigError
from pruneguard.training.schedules.alternating import (
    Alternating,
    Level,
    LevelSettings,
    find_schedule,
    learning_rate,
    schedule,
)


def settings() -> dict[Level, LevelSettings]:
    return {"lower": LevelSettings(lr=0.1, warmup=0), "upper": LevelSettings(lr=0.5, warmup=2)}


def test_order_and_rates_count_each_levels_own_steps() -> None:
    shared, lower_only = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    parameters: dict[Level, list[nn.Parameter]] = {"lower": [shared, lower_only], "upper": [shared]}
    calls: list[tuple[Level, int]] = []

    def gradients(level: Level, number: int) -> dict[str, float]:
        assert shared.grad is None
        assert lower_only.grad is None
        calls.append((level, number))
        for parameter in parameters[level]:
            parameter.grad = torch.ones(1)
        return {"loss": 1.0}

    run = Alternating(parameters, settings(), every=2, steps=5)
    steps = list(run.run(gradients, 0))
    assert calls == [("lower", 0), ("lower", 1), ("upper", 0), ("lower", 2), ("lower", 3), ("upper", 1), ("lower", 4)]
    assert [(step.number, step.upper_steps) for step in steps] == [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]
    assert steps[1].measured == {"lower/loss": 1.0, "lower/lr": 0.1, "upper/loss": 1.0, "upper/lr": 0.25}
    assert steps[3].measured["upper/lr"] == 0.5
    # With a constant gradient AdamW moves by the rate each step.
    assert lower_only.item() == pytest.approx(-5 * 0.1, rel=1e-4)
    assert shared.item() == pytest.approx(-5 * 0.1 - 0.25 - 0.5, rel=1e-4)


def test_a_run_goes_on_where_it_was() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    calls: list[tuple[Level, int]] = []

    def gradients(level: Level, number: int) -> dict[str, float]:
        calls.append((level, number))
        parameter.grad = torch.ones(1)
        return {}

    list(Alternating({"lower": [parameter], "upper": [parameter]}, settings(), every=2, steps=4).run(gradients, 3))
    assert calls == [("lower", 3), ("upper", 1)]


def test_without_upper_parameters_it_is_plain_training() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    run = Alternating({"lower": [parameter]}, settings(), every=1, steps=2)
    assert [step.upper_steps for step in run.run(lambda level, number: {}, 0)] == [0, 0]
    assert set(run.optimisers) == {"lower"}


def test_adamw_is_the_papers() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    group = Alternating({"lower": [parameter]}, {"lower": LevelSettings()}, every=1, steps=1).optimisers["lower"]
    defaults = group.defaults
    assert isinstance(group, torch.optim.AdamW)
    assert (defaults["betas"], defaults["eps"], defaults["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.0)


def test_learning_rate() -> None:
    constant = LevelSettings(lr=1.0, warmup=4)
    assert [learning_rate(step, 100, constant) for step in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = LevelSettings(lr=1.0, warmup=10, decay="cosine")
    assert learning_rate(10, 110, cosine) == 1.0
    assert learning_rate(60, 110, cosine) == pytest.approx(0.5)
    assert learning_rate(85, 110, cosine) == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))
    assert learning_rate(5, 5, cosine) == pytest.approx(0.6)


def test_registry_and_settings() -> None:
    assert find_schedule("alternating") is Alternating
    with pytest.raises(ConfigError, match="no schedule 'x'; choose from alternating"):
        find_schedule("x")
    with pytest.raises(ValueError, match="registered already"):
        schedule("alternating")(Alternating)
    for wrong in ({"lr": 0.0}, {"lr": math.nan}, {"warmup": -1}, {"decay": "x"}, {"betas": (0.9, 1.0)}, {"eps": 0.0}):
        with pytest.raises(ConfigError, match=f"level: `{next(iter(wrong))}`"):
            LevelSettings(**wrong)
