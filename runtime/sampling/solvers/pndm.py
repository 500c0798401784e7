"""PNDM and PLMS sampling steps as pure functions, equal to diffusers' PNDMScheduler.

Pseudo numerical methods for diffusion models: Liu et al. 2022, arXiv:2202.09778, equation 9 and algorithm 2. The PLMS
start without Runge-Kutta steps is the one of CompVis/latent-diffusion. All arithmetic is in float32, in the order in
which diffusers does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, RequestError
from pruneguard.settings import convert

from ..betas import BETA_SCHEDULES, SPACINGS, alphas_cumprod, spaced_timesteps
from ..request import MAX_STEPS, check_steps
from ..solver import SOLVERS, Array, foreign

PREDICTIONS = ("epsilon", "v_prediction")
MAX_TRAIN_TIMESTEPS = 100_000

_RUNGE_KUTTA_STEPS = 4
_RUNGE_KUTTA_WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@dataclass(frozen=True, kw_only=True)
class PndmConfig:
    """The settings of a `scheduler_config.json` that PNDM reads; the defaults are those of diffusers' class."""

    scheduler_class: ClassVar[str] = "PNDMScheduler"

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: Sequence[float] | None = None
    skip_prk_steps: bool = False
    set_alpha_to_one: bool = False
    prediction_type: str = "epsilon"
    timestep_spacing: str = "leading"
    steps_offset: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("beta_schedule", self.beta_schedule, BETA_SCHEDULES),
            ("timestep_spacing", self.timestep_spacing, SPACINGS),
            ("prediction_type", self.prediction_type, PREDICTIONS),
        ):
            if value not in known:
                raise ConfigError(f"scheduler {name} is {value!r}; PNDM knows {', '.join(known)}")
        if not MAX_STEPS <= self.num_train_timesteps <= MAX_TRAIN_TIMESTEPS:
            raise ConfigError(
                f"scheduler num_train_timesteps is {self.num_train_timesteps}; it must be at least {MAX_STEPS} and at"
                f" most {MAX_TRAIN_TIMESTEPS}"
            )
        if not 0 <= self.steps_offset < self.num_train_timesteps:
            raise ConfigError(f"scheduler steps_offset {self.steps_offset} leads past the last training timestep")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(f"scheduler betas must rise between 0 and 1, not {self.beta_start} to {self.beta_end}")
        if self.trained_betas is not None:
            if len(self.trained_betas) != self.num_train_timesteps:
                raise ConfigError(f"scheduler trained_betas must have {self.num_train_timesteps} values")
            if not all(0 < beta < 1 for beta in self.trained_betas):
                raise ConfigError("scheduler trained_betas must lie between 0 and 1")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> PndmConfig:
        """Reads PNDM's configuration; keys that PNDM lacks are dropped.

        Raises ConfigError for a value of the wrong type or range, and for another scheduler's configuration.
        """
        if config.get("_class_name", cls.scheduler_class) != cls.scheduler_class:
            raise ConfigError(foreign(config["_class_name"]))
        if config.get("rescale_betas_zero_snr"):
            raise ConfigError("scheduler rescale_betas_zero_snr: PNDM divides by alpha and cannot start at zero SNR")
        known = {entry.name for entry in fields(cls)}
        values = {name: value for name, value in config.items() if name in known}
        if isinstance(values.get("trained_betas"), np.ndarray):
            values["trained_betas"] = values["trained_betas"].tolist()
        return convert(values, cls, "scheduler")

    @classmethod
    def converted(cls, config: Mapping[str, Any]) -> PndmConfig:
        """PNDM at the noise levels of another scheduler, without Runge-Kutta steps.

        As in diffusers' `from_config`, values that were the other class's defaults are left to PNDM's own defaults.
        Raises ConfigError for a scheduler without betas, such as those of flow matching.
        """
        if config.get("beta_schedule") is None and config.get("trained_betas") is None:
            raise ConfigError(f"{config.get('_class_name')} has no betas, so PNDM cannot take over its noise levels")
        named = config.get("_use_default_values", ())
        if not isinstance(named, list | tuple):
            raise ConfigError(f"scheduler _use_default_values must be a list of names, not {named!r}")
        defaults = [name for name in ("timestep_spacing", "steps_offset", "set_alpha_to_one") if name in named]
        kept = {name: value for name, value in config.items() if name not in defaults}
        return cls.from_dict({**kept, "_class_name": cls.scheduler_class, "skip_prk_steps": True})


@dataclass(frozen=True, eq=False)
class PndmState:
    """What a run remembers between calls: their number, past outputs (newest last), and an unfinished step."""

    calls: int = 0
    outputs: tuple[Array, ...] = ()
    origin: Array | None = None
    slope: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pndm:
    """PNDM for one number of steps: the timestep of each UNet call, and the noise levels at the timesteps.

    The first `warm_up` calls are Runge-Kutta's. `stride` is the distance in timesteps between two steps.
    """

    timesteps: tuple[int, ...]
    warm_up: int
    stride: int
    alphas_cumprod: Array
    final_alpha: np.float32
    prediction_type: str
    initial_sigma: float = 1.0

    def scale_input(self, sample: Array, call: int) -> Array:
        """The sample itself: PNDM's samples have unit variance at every noise level."""
        return sample

    def start(self) -> PndmState:
        """The state before the first call."""
        return PndmState()

    def step(self, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
        """As `pndm_step`."""
        return pndm_step(self, state, output, sample)

    def alpha(self, timestep: int) -> np.float32:
        """The product of alphas at `timestep`; below zero, the product at the end of the schedule."""
        return self.final_alpha if timestep < 0 else np.float32(self.alphas_cumprod[timestep])


def make_pndm(scheduler: Mapping[str, Any], steps: int) -> Pndm:
    """PNDM for `steps` (1 to 100) sampling steps.

    n steps take n + 1 calls (n = 1: one call), with Runge-Kutta warm-up n + 9. Raises ConfigError for a wrong
    configuration and RequestError for a wrong number of steps.
    """
    settings = PndmConfig.from_dict(scheduler)
    steps = check_steps(steps)
    if not settings.skip_prk_steps and steps < _RUNGE_KUTTA_STEPS:
        raise RequestError(
            f"steps must be at least {_RUNGE_KUTTA_STEPS}: this model's scheduler does not skip_prk_steps"
        )
    count = settings.num_train_timesteps
    alphas = alphas_cumprod(
        count, settings.beta_schedule, settings.beta_start, settings.beta_end, settings.trained_betas
    )
    stride = count // steps
    spaced = spaced_timesteps(count, steps, settings.timestep_spacing, settings.steps_offset)
    warm_up, rest = _call_order(spaced, stride, settings.skip_prk_steps)
    timesteps = tuple(int(t) for t in [*warm_up, *rest])
    if max(timesteps) >= len(alphas):
        raise ConfigError(f"scheduler steps_offset {settings.steps_offset} leads past the last training timestep")
    return Pndm(
        timesteps=timesteps,
        warm_up=len(warm_up),
        stride=stride,
        alphas_cumprod=alphas,
        final_alpha=np.float32(1.0) if settings.set_alpha_to_one else np.float32(alphas[0]),
        prediction_type=settings.prediction_type,
    )


SOLVERS.register("pndm", settings=PndmConfig)(make_pndm)


def pndm_step(solver: Pndm, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """One call's worth of sampling: (x_t, model output at t) -> (x at the next call's timestep, next state).

    `output` and `sample` have one shape, such as (C, h, w) or (B, C, h, w). The output is copied: an engine may reuse
    its buffer, and PLMS needs the last four outputs. Changes no argument.
    """
    output = np.array(output, dtype=np.float32)
    if state.calls < solver.warm_up:
        return _runge_kutta_step(solver, state, output, sample)
    return _multistep_step(solver, state, output, sample)


def _runge_kutta_step(solver: Pndm, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """One of the four evaluations of a Runge-Kutta step, equation 13; the first one enters the multistep history."""
    phase = state.calls % 4
    start = solver.timesteps[state.calls - phase]
    end = solver.timesteps[state.calls] - (0 if state.calls % 2 else solver.stride // 2)
    origin = sample.copy() if phase == 0 or state.origin is None else state.origin
    share: Array = np.float32(_RUNGE_KUTTA_WEIGHTS[phase]) * output
    slope = share if state.slope is None else state.slope + share
    direction = slope if phase == 3 else output
    outputs = (*state.outputs, output) if phase == 0 else state.outputs
    following = PndmState(state.calls + 1, outputs, origin, None if phase == 3 else slope)
    return _transfer(solver, origin, start, end, direction), following


def _multistep_step(solver: Pndm, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """A linear multistep (Adams-Bashforth) step, equation 12; without warm-up the first step is done in two calls."""
    start = solver.timesteps[state.calls]
    if state.calls == 1:
        origin = sample if state.origin is None else state.origin
        direction = (output + state.outputs[-1]) / np.float32(2)
        previous = _transfer(solver, origin, start + solver.stride, start, direction)
        return previous, PndmState(2, state.outputs)
    outputs = (*state.outputs[-3:], output)
    kept = sample.copy() if state.calls == 0 else None
    previous = _transfer(solver, sample, start, start - solver.stride, _extrapolate(outputs))
    return previous, PndmState(state.calls + 1, outputs, kept)


def _extrapolate(outputs: tuple[Array, ...]) -> Array:
    """The Adams-Bashforth combination of one to four outputs, newest last."""
    combined = outputs[-1]
    if len(outputs) == 2:
        combined = (3 * outputs[-1] - outputs[-2]) / np.float32(2)
    elif len(outputs) == 3:
        combined = (23 * outputs[-1] - 16 * outputs[-2] + 5 * outputs[-3]) / np.float32(12)
    elif len(outputs) == 4:
        total = 55 * outputs[-1] - 59 * outputs[-2] + 37 * outputs[-3] - 9 * outputs[-4]
        combined = np.float32(1 / 24) * total
    return combined


def _transfer(solver: Pndm, sample: Array, start: int, end: int, output: Array) -> Array:
    """x_start -> x_end along the model output, equation 9."""
    alpha, alpha_end = solver.alpha(start), solver.alpha(end)
    beta, beta_end = 1 - alpha, 1 - alpha_end
    if solver.prediction_type == "v_prediction":
        output = np.sqrt(alpha) * output + np.sqrt(beta) * sample
    scale = np.sqrt(alpha_end / alpha)
    divisor = alpha * np.sqrt(beta_end) + np.sqrt(alpha * beta * alpha_end)
    moved: Array = scale * sample - (alpha_end - alpha) * output / divisor
    return moved


def _call_order(
    spaced: NDArray[np.int64], stride: int, skip_warm_up: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The timesteps of the Runge-Kutta warm-up and those of the multistep calls, both falling."""
    if skip_warm_up:
        # The second timestep comes twice: the first step is done once roughly and once with the mean of both slopes.
        return spaced[:0], np.concatenate([spaced[:-1], spaced[-2:-1], spaced[-1:]])[::-1]
    halves = spaced[-_RUNGE_KUTTA_STEPS:].repeat(2) + np.tile([0, stride // 2], _RUNGE_KUTTA_STEPS)
    return halves[:-1].repeat(2)[1:-1][::-1], spaced[:-3][::-1]
