"""Checkpoints of a run: safetensors and JSON only, each in a folder that is whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruneguard.errors import TrainingError
from pruneguard.runs.aside import written_aside

WEIGHTS, OPTIMISERS, STATES, POSITION = (
    "weights.safetensors",
    "optimisers.safetensors",
    "states.safetensors",
    "state.json",
)
_RETIRED = ".retired-"


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    number: int
    """Events done; it names the checkpoint."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Whatever else counts."""
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Recent losses by name."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """What was measured last."""


class Stateful(Protocol):
    """Something with tensors that live across steps."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None: ...


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds, each by a name without dots: modules, optimisers over named parameters, other state."""

    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    states: Mapping[str, Stateful] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run folder; the last `keep` stay."""

    def __init__(self, run_folder: Path, keep: int) -> None:
        self._folder = run_folder / "checkpoints"
        self._keep = keep

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        files = (WEIGHTS, OPTIMISERS, STATES, POSITION)
        return sorted(path for path in self._folder.glob("step-*") if all((path / name).is_file() for name in files))

    def described(self) -> str:
        """What an error says about where a run can go on from."""
        found = self.all()
        return f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was made yet"

    def save(self, contents: Contents, position: Position) -> Path:
        """Writes a checkpoint, then removes the oldest ones. Raises TrainingError, which leaves the earlier ones."""
        target = self._folder / f"step-{position.number:08d}"
        with written_aside(target, TrainingError, f"({self.described()}) checkpoint") as aside:
            save_file(
                _joined({name: module.state_dict() for name, module in contents.modules.items()}), aside / WEIGHTS
            )
            save_file(_joined({name: _moments(one) for name, one in contents.optimisers.items()}), aside / OPTIMISERS)
            states = {name: owner.state_dict() for name, owner in contents.states.items()}
            save_file(_joined({**states, "random": _random_states()}), aside / STATES)
            (aside / POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")
        self._remove(self.all()[: -self._keep])
        return target

    def _remove(self, old: Sequence[Path]) -> None:
        """Removes checkpoints, and what a process left that died here. Renaming first hides a half-removed folder."""
        for left in self._folder.glob(f"{_RETIRED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for path in old:
            retired = path.with_name(_RETIRED + path.name)
            with suppress(OSError):
                path.rename(retired)
            shutil.rmtree(retired, ignore_errors=True)

    def restore(self, contents: Contents) -> Position | None:
        """Loads the newest checkpoint in place; None without one. Raises TrainingError for one that cannot be read."""
        found = self.all()
        if not found:
            return None
        path = found[-1]
        try:
            state: dict[str, Any] = json.loads((path / POSITION).read_text(encoding="utf-8"))
            position = Position(int(state["number"]), state["counters"], state["losses"], state["measured"])
            weights = _parted(load_file(path / WEIGHTS), contents.modules)
            moments = _parted(load_file(path / OPTIMISERS), contents.optimisers)
            states = _parted(load_file(path / STATES), [*contents.states, "random"])
            for name, module in contents.modules.items():
                module.load_state_dict(weights[name])
            for name, optimiser in contents.optimisers.items():
                _restore_moments(optimiser, moments[name])
            for name, owner in contents.states.items():
                owner.load_state_dict(states[name])
            _set_random_states(states["random"])
            return position
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise TrainingError(
                f"checkpoint {path} cannot be read ({line}); delete that folder to go on from the one before it"
            ) from None


def _joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One flat table, `owner.name` to tensor, as safetensors stores it."""
    return {
        f"{owner}.{name}": tensor.detach().contiguous()
        for owner, part in parts.items()
        for name, tensor in part.items()
    }


def _parted(tensors: Mapping[str, Tensor], owners: Sequence[str] | Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The inverse of `_joined`. Raises KeyError for tensors of an owner that is not there."""
    parts: dict[str, dict[str, Tensor]] = {owner: {} for owner in owners}
    for address, tensor in tensors.items():
        owner, _, name = address.partition(".")
        parts[owner][name] = tensor
    return parts


def _parameters(optimiser: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """The optimiser's parameters by the names it was given; names outlive any order of parameters."""
    return {
        name: parameter
        for group in optimiser.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
    }


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors of an optimiser's state as `parameter|key`."""
    return {
        f"{name}|{key}": value
        for name, parameter in _parameters(optimiser).items()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def _restore_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = _parameters(optimiser)
    for address, tensor in tensors.items():
        name, _, key = address.rpartition("|")
        parameter = parameters[name]
        # AdamW keeps its step count on the CPU and its moments with the parameter.
        optimiser.state[parameter][key] = tensor.clone() if key == "step" else tensor.to(parameter.device).clone()


def _random_states() -> dict[str, Tensor]:
    """The global generators' states. Steps have generators of their own; a student with dropout draws from these."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"].clone())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].clone())
