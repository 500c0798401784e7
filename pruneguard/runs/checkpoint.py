"""Checkpoints of a run: safetensors and JSON only, each in a folder that is whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruneguard.errors import TrainingError
from pruneguard.runs.aside import written_aside

_STUDENT, _OPTIMISERS, _STATE = "student.safetensors", "optimisers.safetensors", "state.json"
_FILES = (_STUDENT, _OPTIMISERS, _STATE)
_RETIRED = ".retired-"


@dataclass(frozen=True)
class Position:
    """How far a run has come: lower and upper steps done, each level's recent losses, and what was measured last."""

    step: int
    upper_steps: int
    losses: Mapping[str, Sequence[float]]
    measured: Mapping[str, float] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run folder; the last `keep` stay."""

    def __init__(self, run_folder: Path, keep: int) -> None:
        self._folder = run_folder / "checkpoints"
        self._keep = keep

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(path for path in self._folder.glob("step-*") if all((path / name).is_file() for name in _FILES))

    def described(self) -> str:
        """What an error says about where a run can go on from."""
        found = self.all()
        return f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was made yet"

    def save(self, student: nn.Module, optimisers: Mapping[str, torch.optim.Optimizer], position: Position) -> Path:
        """Writes a checkpoint, then removes the oldest ones; TrainingError leaves the earlier ones as they are."""
        target = self._folder / f"step-{position.step:08d}"
        with written_aside(target, TrainingError, f"({self.described()}) checkpoint") as aside:
            save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, aside / _STUDENT)
            save_file(_moments(student, optimisers) | _random_states(), aside / _OPTIMISERS)
            (aside / _STATE).write_text(json.dumps(asdict(position)), encoding="utf-8")
        self._remove(self.all()[: -self._keep])
        return target

    def _remove(self, old: Sequence[Path]) -> None:
        """Removes checkpoints and what a process that died here left; the rename keeps a half from looking whole."""
        for left in self._folder.glob(f"{_RETIRED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for path in old:
            retired = path.with_name(_RETIRED + path.name)
            with suppress(OSError):
                path.rename(retired)
            shutil.rmtree(retired, ignore_errors=True)

    def restore(self, student: nn.Module, optimisers: Mapping[str, torch.optim.Optimizer]) -> Position | None:
        """Loads the newest checkpoint in place; None where there is none, TrainingError for one that cannot be read."""
        found = self.all()
        if not found:
            return None
        path = found[-1]
        try:
            state: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
            student.load_state_dict(load_file(path / _STUDENT))
            _restore_moments(student, optimisers, load_file(path / _OPTIMISERS))
            return Position(int(state["step"]), int(state["upper_steps"]), state["losses"], state["measured"])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            line = str(error).splitlines()[0]
            raise TrainingError(
                f"checkpoint {path} cannot be read ({line}); delete that folder to go on from the one before it"
            ) from None


def _named(student: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The optimiser's parameters by their names in the student, which outlive any order of parameters."""
    owned = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    return {name: parameter for name, parameter in student.named_parameters() if id(parameter) in owned}


def _moments(student: nn.Module, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Tensors of AdamW's state as `level|parameter|key`."""
    return {
        f"{level}|{name}|{key}": value.detach().contiguous()
        for level, optimiser in optimisers.items()
        for name, parameter in _named(student, optimiser).items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def _restore_moments(
    student: nn.Module, optimisers: Mapping[str, torch.optim.Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    by_level = {level: _named(student, optimiser) for level, optimiser in optimisers.items()}
    for address, tensor in tensors.items():
        level, name, key = address.split("|")
        if level == "random":
            _set_random_state(name, tensor)
            continue
        parameter = by_level[level][name]  # type: ignore[index]
        # AdamW keeps its step count on the CPU and its moments with the parameter.
        value = tensor.clone() if key == "step" else tensor.to(parameter.device).clone()
        optimisers[level].state[parameter][key] = value  # type: ignore[index]


def _random_states() -> dict[str, Tensor]:
    """The global generators' states. Steps have generators of their own; a student with dropout draws from these."""
    states = {"random|cpu|state": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random|cuda|state"] = torch.cuda.get_rng_state()
    return states


def _set_random_state(device: str, state: Tensor) -> None:
    if device == "cpu":
        torch.set_rng_state(state.clone())
    elif torch.cuda.is_available():
        torch.cuda.set_rng_state(state.clone())
