"""A new schedule is one class that registers itself; a run then takes it by name, with its own settings."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.settings import Choice
from pruneguard.training import TrainSettings, train
from pruneguard.training.schedules.contract import SCHEDULES, Counters, Level, Levels, Pacing, ScheduleSettings, Step

GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc in flat style",), terms=("glow",))


@dataclass(frozen=True, kw_only=True)
class SeesawSettings(ScheduleSettings):
    rate: float = 1e-3


class Seesaw:
    """Upper and lower steps in turn, each by plain gradient descent."""

    takes_edits: ClassVar[bool] = False
    optimisers: ClassVar[dict[str, torch.optim.Optimizer]] = {}

    def __init__(self, parameters: Mapping[Level, Any], settings: SeesawSettings, pacing: Pacing) -> None:
        self.parameters, self.rate, self.events = parameters, settings.rate, 2 * pacing.steps

    def run(self, levels: Levels, at: Counters) -> Iterator[Step]:
        while at.event < self.events:
            level: Level = "lower" if at.event % 2 else "upper"
            gradient = levels.gradient(level, at.lower if level == "lower" else at.upper)
            with torch.no_grad():
                for name, tensor in gradient.tensors.items():
                    self.parameters[level][name] -= self.rate * tensor
            at = at.after(level)
            yield Step(at, {f"{level}/loss": gradient.measured["loss"]})

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        assert not state


@pytest.fixture
def seesaw() -> Iterator[None]:
    SCHEDULES.register("seesaw", settings=SeesawSettings)(Seesaw)
    yield
    SCHEDULES.remove("seesaw")


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_run_takes_a_registered_schedule_by_name(seesaw: None, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    settings = TrainSettings.from_dict(
        {
            "steps": 2,
            "batch_size": 2,
            "tracker": "none",
            "schedule": {"name": "seesaw", "rate": 0.01},
            "erasure": {"batch_size": 2, "images": 2, "steps": 2},
        }
    )
    data = from_atelier(tiny_pipeline, 4, seed=0)
    result = train(tiny_pipeline, copy.deepcopy(tiny_pipeline.unet), data, [GLOW], settings, tmp_path / "run")
    assert (result.metrics["steps"], result.metrics["upper_steps"]) == (2, 2)
    moved = (weights(result.unet) - weights(tiny_pipeline.unet)).abs().max().item()
    assert 0 < moved < 1
    slow = replace(settings, schedule=Choice("seesaw", {"rate": 0.001}))
    less = train(tiny_pipeline, copy.deepcopy(tiny_pipeline.unet), data, [GLOW], slow, tmp_path / "slow")
    assert (weights(less.unet) - weights(tiny_pipeline.unet)).abs().max().item() < moved / 5


def test_its_options_are_checked_and_its_name_is_proposed(seesaw: None) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'rat': did you mean 'rate'"):
        TrainSettings.from_dict({"schedule": {"name": "seesaw", "rat": 0.1}})
    with pytest.raises(ConfigError, match="unknown schedule 'sesaw': did you mean 'seesaw'"):
        TrainSettings.from_dict({"schedule": "sesaw"})
