"""The inputs on which engines are compared: what the components meet when the reference samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pruneguard.runtime.engines.backend import COMPONENTS
from pruneguard.runtime.engines.engine import Engine

Arrays = dict[str, NDArray[Any]]
Calls = dict[str, list[Arrays]]


class Case(NamedTuple):
    """Inputs of one engine call, and their description for people."""

    component: str
    text: str
    inputs: Arrays


class Recorder:
    """An engine that keeps a copy of the inputs of each call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[Arrays] = []

    def run(self, inputs: Arrays, outputs: Sequence[str] | None = None) -> Arrays:
        """As the engine's own."""
        self.calls.append({name: np.array(value) for name, value in inputs.items()})
        return self.engine.run(inputs, outputs)

    def describe(self) -> dict[str, Any]:
        """As the engine's own."""
        return self.engine.describe()


def cases_of(native: Calls, oblong: Calls, *, timesteps: int, batches: Sequence[int]) -> list[Case]:
    """The cases of all components, from the calls of a sampling at the native size and of one at an oblong size.

    Text encoder: the states of all prompts, with the empty one, at each batch size. UNet: `timesteps` calls spread
    over the sampling and two oblong ones, at the batch sizes in turn; then rows of different timesteps in one batch.
    VAE decoder: the latents of both samplings at each batch size.
    """
    found: list[Case] = []
    for name in COMPONENTS:
        if name == "unet":
            found += _unet_cases(native[name], oblong[name], timesteps, batches)
            continue
        met = [_joined(native[name])] if name == "text_encoder" else [native[name][0], oblong[name][0]]
        found += [_case(name, inputs, batch) for inputs in met for batch in batches]
    return found


def count_cases(*, timesteps: int, calls: int, batches: Sequence[int]) -> int:
    """The number of cases for a sampling of `calls` UNet calls, known before it begins."""
    return 3 * len(batches) + len(_spread(calls, timesteps)) + 3


def _unet_cases(native: list[Arrays], oblong: list[Arrays], timesteps: int, batches: Sequence[int]) -> Iterator[Case]:
    met = [native[place] for place in _spread(len(native), timesteps)] + [oblong[0], oblong[-1]]
    for inputs, batch in zip(met, cycle(batches), strict=False):
        yield _case("unet", _alternating(inputs), batch)
    rows = [_alternating(native[place]) for place in _spread(len(native), max(2, *batches))]
    mixed = {key: np.stack([inputs[key][0] for inputs in rows]) for key in rows[0]}
    yield _case("unet", mixed, len(rows))


def _spread(count: int, points: int) -> list[int]:
    """Up to `points` places spread over range(count), with both ends if there are two or more."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, points).round())]


def _alternating(inputs: Arrays) -> Arrays:
    """A guided call's rows, conditional and unconditional in turn, so that a batch of one is conditional too."""

    def order(value: NDArray[Any]) -> NDArray[Any]:
        half = len(value) // 2
        return np.stack([value[half:], value[:half]], axis=1).reshape(value.shape)

    return {key: order(value) for key, value in inputs.items()}


def _joined(calls: Sequence[Arrays]) -> Arrays:
    return {key: np.concatenate([call[key] for call in calls]) for key in calls[0]}


def _case(component: str, inputs: Arrays, batch: int) -> Case:
    """The first `batch` rows of `inputs`; if there are fewer, they repeat from the start."""
    rows = {key: np.resize(value, (batch, *value.shape[1:])) for key, value in inputs.items()}
    parts = [f"batch {batch}"]
    if "timestep" in rows:
        timesteps = list(dict.fromkeys(f"{timestep:g}" for timestep in rows["timestep"]))
        parts.append(f"timestep{'s' * (len(timesteps) > 1)} {' '.join(timesteps)}")
    latents = next((value for value in rows.values() if value.ndim == 4), None)
    if latents is not None:
        parts.append(f"latents {latents.shape[2]}x{latents.shape[3]}")
    return Case(component, ", ".join(parts), rows)
