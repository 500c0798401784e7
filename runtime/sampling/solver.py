"""The contract of solvers, and their registry.

A solver moves a sample from noise to an image, one UNet output at a time. It holds constants only. All that changes
during a run is a state, which is a value: rows of one batch may stand at different steps, and runs never mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError
from pruneguard.registry import Registry

Array = NDArray[np.float32]
S = TypeVar("S")


class Solver(Protocol[S]):
    """A solver for one number of steps. Samples and outputs have any one shape; a state belongs to one sample."""

    @property
    def timesteps(self) -> tuple[float, ...]:
        """The timestep of each UNet call, in order."""
        ...

    @property
    def initial_sigma(self) -> float:
        """The standard deviation of the first sample: standard normal noise is multiplied by it."""
        ...

    def scale_input(self, sample: Array, call: int) -> Array:
        """What the UNet gets for `sample` at the call of that number (from 0). Never changes `sample`."""
        ...

    def start(self) -> S:
        """The state before the first call."""
        ...

    def step(self, state: S, output: Array, sample: Array) -> tuple[Array, S]:
        """(state, UNet output, x_t) -> (x at the next call, next state). A pure function: it changes no argument."""
        ...


BuildSolver = Callable[[Mapping[str, Any], int], Solver[Any]]


class SchedulerConfig(Protocol):
    """The settings type of a registered solver: what it reads from a diffusers `scheduler_config.json`."""

    scheduler_class: ClassVar[str]
    """The diffusers class that the solver computes."""

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts, in diffusers' words: "epsilon" or "v_prediction"."""
        ...

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the configuration of `scheduler_class`. Raises ConfigError for one of another class."""
        ...

    @classmethod
    def converted(cls, config: Mapping[str, Any]) -> Self:
        """Reads the configuration of any scheduler with the same noise levels. Raises ConfigError."""
        ...


SOLVERS: Registry[BuildSolver] = Registry("solver", packages=("pruneguard.runtime.sampling.solvers",))
"""Each entry has a SchedulerConfig as its settings, and builds a solver from a scheduler's configuration and a number
of steps. Building raises ConfigError for a wrong configuration and RequestError for a wrong number of steps."""


DEFAULT_SOLVER = "pndm"


def read_scheduler(config: Mapping[str, Any], scheduler: str | None = None) -> tuple[str, Any]:
    """The solver's name and its settings for a scheduler's configuration with its `_class_name`.

    A configuration without a class is PNDM's. `scheduler` names a solver to use in place of the scheduler's own class;
    its settings then take over the noise levels. Raises ConfigError for a class that no solver computes, and for noise
    levels that the solver cannot use.
    """
    owned = {SOLVERS.find(name).settings.scheduler_class: name for name in SOLVERS.names()}
    named = config.get("_class_name", SOLVERS.find(DEFAULT_SOLVER).settings.scheduler_class)
    if scheduler is not None:
        settings = SOLVERS.find(scheduler).settings
        read = settings.from_dict if named == settings.scheduler_class else settings.converted
        return scheduler, read(config)
    if not isinstance(named, str) or named not in owned:
        raise ConfigError(foreign(named))
    return owned[named], SOLVERS.find(owned[named]).settings.from_dict(config)


def foreign(class_name: object) -> str:
    """The message about a scheduler class that nothing here computes."""
    return (
        f"the model's scheduler is {class_name}, which no solver here computes; --scheduler pndm draws with PNDM at the"
        " same noise levels instead"
    )
