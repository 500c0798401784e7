"""Checkpoints hold named modules, optimisers and other state, and are whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pruneguard.errors import TrainingError
from pruneguard.runs.checkpoint import Checkpoints, Contents, Position


class Counted:
    """State with one tensor."""

    def __init__(self, value: float) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Tensor]:
        return {"layer.value": torch.tensor(self.value)}

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        self.value = state["layer.value"].item()


def contents(fill: float, *, order: int = 1) -> Contents:
    """Two modules, an optimiser over parameters of both whose moments are set by one step, and a state."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    for module in (first, second):
        for parameter in module.parameters():
            nn.init.constant_(parameter, fill)
    named = [
        ("first.weight", first.get_parameter("weight")),
        ("second.bias", second.get_parameter("bias")),
    ]
    named = named[::order]
    optimiser = torch.optim.AdamW(named, lr=0.1)
    for number, (_, parameter) in enumerate(sorted(named)):
        parameter.grad = torch.full_like(parameter, fill + number)
    optimiser.step()
    return Contents({"first": first, "second": second}, {"joint": optimiser}, {"masks": Counted(fill)})


def test_everything_comes_back_by_name_in_any_order_of_parameters(tmp_path: Path) -> None:
    checkpoints, saved = Checkpoints(tmp_path, keep=2), contents(3.0)
    position = Position(7, {"lower": 5, "upper": 2}, {"lower": [0.5, 0.25]}, {"lower/loss": 0.25})
    path = checkpoints.save(saved, position)
    assert path.name == "step-00000007"
    other = contents(1.0, order=-1)
    assert checkpoints.restore(other) == position
    for name, module in saved.modules.items():
        ours, theirs = module.state_dict(), other.modules[name].state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    moments = other.optimisers["joint"].state
    first, second = (other.modules[name].get_parameter(key) for name, key in (("first", "weight"), ("second", "bias")))
    # The first moment after one step is (1 - beta_1) times the gradient, which was 3 and 4.
    assert moments[first]["exp_avg"].flatten().tolist() == pytest.approx([0.3] * 4)
    assert moments[second]["exp_avg"].tolist() == pytest.approx([0.4])
    assert moments[first]["step"].item() == 1
    masks = other.states["masks"]
    assert isinstance(masks, Counted)
    assert masks.value == 3.0


def test_names_in_the_files_are_those_of_modules_and_parameters(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, keep=1).save(contents(1.0), Position(1))
    assert {file.name for file in path.iterdir()} == {
        "weights.safetensors",
        "optimisers.safetensors",
        "states.safetensors",
        "state.json",
    }
    assert set(load_file(path / "weights.safetensors")) == {
        f"{module}.{name}" for module in ("first", "second") for name in ("weight", "bias")
    }
    assert "joint.second.bias|exp_avg_sq" in load_file(path / "optimisers.safetensors")
    assert "masks.layer.value" in load_file(path / "states.safetensors")
    assert json.loads((path / "state.json").read_text())["number"] == 1


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    torch.manual_seed(5)
    checkpoints.save(contents(1.0), Position(1))
    before = torch.rand(3)
    checkpoints.restore(contents(1.0))
    assert torch.equal(torch.rand(3), before)


def test_the_last_ones_stay_and_the_newest_is_restored(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.restore(contents(0.0)) is None
    assert checkpoints.described() == "no checkpoint was made yet"
    for number in (2, 4, 10):
        checkpoints.save(contents(float(number)), Position(number))
    assert [path.name for path in checkpoints.all()] == ["step-00000004", "step-00000010"]
    position = checkpoints.restore(contents(0.0))
    assert position is not None
    assert position.number == 10


@pytest.mark.parametrize("file", ["weights.safetensors", "optimisers.safetensors", "states.safetensors", "state.json"])
def test_a_damaged_file_is_an_error_that_names_the_checkpoint(tmp_path: Path, file: str) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.save(contents(1.0), Position(3))
    (path / file).write_bytes((path / file).read_bytes()[:-9])
    with pytest.raises(TrainingError, match=rf"checkpoint {path} cannot be read .*delete that folder to go on"):
        checkpoints.restore(contents(0.0))


def test_a_checkpoint_of_other_contents_is_an_error(tmp_path: Path) -> None:
    checkpoints, saved = Checkpoints(tmp_path, keep=2), contents(1.0)
    checkpoints.save(saved, Position(3))
    fewer = Contents({"first": saved.modules["first"]}, saved.optimisers, saved.states)
    with pytest.raises(TrainingError, match=r"cannot be read \('second'\)"):
        checkpoints.restore(fewer)
    more = Contents({**saved.modules, "third": nn.Linear(1, 1)}, saved.optimisers, saved.states)
    with pytest.raises(TrainingError, match=r"cannot be read \(Error\(s\) in loading state_dict"):
        checkpoints.restore(more)
