"""PNDM and PLMS sampling steps as pure functions, equal to diffusers' PNDMScheduler.

Pseudo numerical methods for diffusion models: Liu et al. 2022, arXiv:2202.09778, equation 9 and algorithm 2; the PLMS
start without Runge-Kutta steps is the one of CompVis/latent-diffusion. All arithmetic is in float32, in the order in
which diffusers does it. The state of a run is a value: two runs can never mix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, RequestError

Array = NDArray[np.float32]

MAX_STEPS = 100
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "v_prediction")

_RUNGE_KUTTA_STEPS = 4
_RUNGE_KUTTA_WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@dataclass(frozen=True, kw_only=True)
class PndmConfig:
    """The settings of a `scheduler_config.json` that PNDM reads; the defaults are those of diffusers' class."""

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
        for name, number in (("num_train_timesteps", self.num_train_timesteps), ("steps_offset", self.steps_offset)):
            if type(number) is not int or number < 0:
                raise ConfigError(f"scheduler {name} must be a whole number, not {number!r}")
        if self.num_train_timesteps < MAX_STEPS:
            raise ConfigError(f"scheduler num_train_timesteps must be at least {MAX_STEPS}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ConfigError(f"scheduler betas must rise between 0 and 1, not {self.beta_start} to {self.beta_end}")
        if self.trained_betas is not None:
            if len(self.trained_betas) != self.num_train_timesteps:
                raise ConfigError(f"scheduler trained_betas must have {self.num_train_timesteps} values")
            if not all(0 < beta < 1 for beta in self.trained_betas):
                raise ConfigError("scheduler trained_betas must lie between 0 and 1")

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> PndmConfig:
        """Reads a scheduler configuration, also of a kindred scheduler; keys that PNDM lacks are dropped."""
        if config.get("rescale_betas_zero_snr"):
            raise ConfigError("scheduler rescale_betas_zero_snr: PNDM divides by alpha and cannot start at zero SNR")
        known = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in config.items() if name in known})


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """The timesteps of one run, one for each UNet call, and the noise levels they refer to."""

    timesteps: tuple[int, ...]
    warm_up: int
    stride: int
    alphas_cumprod: Array
    final_alpha: np.float32
    prediction_type: str

    def alpha(self, timestep: int) -> np.float32:
        """The product of alphas at `timestep`, and of the schedule's end below zero."""
        return self.final_alpha if timestep < 0 else np.float32(self.alphas_cumprod[timestep])


@dataclass(frozen=True, eq=False)
class PndmState:
    """What a run remembers between calls: their number, past outputs (newest last), and a step in the making."""

    calls: int = 0
    outputs: tuple[Array, ...] = ()
    origin: Array | None = None
    slope: Array | None = None


def make_schedule(config: Mapping[str, Any] | PndmConfig, steps: int) -> Schedule:
    """The schedule of `steps` (1 to 100) sampling steps.

    n steps take n + 1 calls (n = 1: one call), with Runge-Kutta warm-up n + 9. One difference from diffusers: spacing
    `trailing` at 61 steps ends there with a call at t = -1, a rounding slip that ruins the image; it is left out here.
    Raises ConfigError for a wrong configuration and RequestError for a wrong number of steps.
    """
    settings = config if isinstance(config, PndmConfig) else PndmConfig.from_dict(config)
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"steps must be a whole number from 1 to {MAX_STEPS}, not {steps!r}")
    if not settings.skip_prk_steps and steps < _RUNGE_KUTTA_STEPS:
        raise RequestError(
            f"steps must be at least {_RUNGE_KUTTA_STEPS}: this model's scheduler does not skip_prk_steps"
        )
    alphas = _alphas_cumprod(settings)
    stride = settings.num_train_timesteps // steps
    warm_up, rest = _call_order(_spaced(settings, steps), stride, settings.skip_prk_steps)
    timesteps = tuple(int(t) for t in [*warm_up, *rest])
    if max(timesteps) >= len(alphas):
        raise ConfigError(f"scheduler steps_offset {settings.steps_offset} leads past the last training timestep")
    return Schedule(
        timesteps=timesteps,
        warm_up=len(warm_up),
        stride=stride,
        alphas_cumprod=alphas,
        final_alpha=np.float32(1.0) if settings.set_alpha_to_one else np.float32(alphas[0]),
        prediction_type=settings.prediction_type,
    )


def pndm_step(schedule: Schedule, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """One call's worth of sampling: (x_t, model output at t) -> (x at the next call's timestep, next state).

    `output` and `sample` have one shape (B, C, h, w). The output is copied: an engine may reuse its buffer, and PLMS
    needs the last four outputs. Never changes its arguments.
    """
    output = np.array(output, dtype=np.float32)
    if state.calls < schedule.warm_up:
        return _runge_kutta_step(schedule, state, output, sample)
    return _multistep_step(schedule, state, output, sample)


def _runge_kutta_step(schedule: Schedule, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """One of the four evaluations of a Runge-Kutta step, equation 13; the first one enters the multistep history."""
    phase = state.calls % 4
    start = schedule.timesteps[state.calls - phase]
    end = schedule.timesteps[state.calls] - (0 if state.calls % 2 else schedule.stride // 2)
    origin = sample.copy() if phase == 0 or state.origin is None else state.origin
    share: Array = np.float32(_RUNGE_KUTTA_WEIGHTS[phase]) * output
    slope = share if state.slope is None else state.slope + share
    direction = slope if phase == 3 else output
    outputs = (*state.outputs, output) if phase == 0 else state.outputs
    following = PndmState(state.calls + 1, outputs, origin, None if phase == 3 else slope)
    return _transfer(schedule, origin, start, end, direction), following


def _multistep_step(schedule: Schedule, state: PndmState, output: Array, sample: Array) -> tuple[Array, PndmState]:
    """A linear multistep (Adams-Bashforth) step, equation 12; without warm-up the first step is done in two calls."""
    start = schedule.timesteps[state.calls]
    if state.calls == 1:
        origin = sample if state.origin is None else state.origin
        direction = (output + state.outputs[-1]) / np.float32(2)
        previous = _transfer(schedule, origin, start + schedule.stride, start, direction)
        return previous, PndmState(2, state.outputs)
    outputs = (*state.outputs[-3:], output)
    kept = sample.copy() if state.calls == 0 else None
    previous = _transfer(schedule, sample, start, start - schedule.stride, _extrapolate(outputs))
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


def _transfer(schedule: Schedule, sample: Array, start: int, end: int, output: Array) -> Array:
    """x_start -> x_end along the model output, equation 9."""
    alpha, alpha_end = schedule.alpha(start), schedule.alpha(end)
    beta, beta_end = 1 - alpha, 1 - alpha_end
    if schedule.prediction_type == "v_prediction":
        output = np.sqrt(alpha) * output + np.sqrt(beta) * sample
    scale = np.sqrt(alpha_end / alpha)
    divisor = alpha * np.sqrt(beta_end) + np.sqrt(alpha * beta * alpha_end)
    moved: Array = scale * sample - (alpha_end - alpha) * output / divisor
    return moved


def _spaced(settings: PndmConfig, steps: int) -> NDArray[np.int64]:
    """The rising timesteps of `steps` steps; Lin et al. 2023, arXiv:2305.08891, table 2, has the three spacings."""
    last = settings.num_train_timesteps
    if settings.timestep_spacing == "linspace":
        return np.linspace(0, last - 1, steps).round().astype(np.int64)
    if settings.timestep_spacing == "leading":
        return np.arange(steps, dtype=np.int64) * (last // steps) + settings.steps_offset
    spaced = np.round(np.arange(last, 0, -last / steps))[::-1].astype(np.int64) - 1
    return spaced[spaced >= 0]


def _call_order(
    spaced: NDArray[np.int64], stride: int, skip_warm_up: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The timesteps of the Runge-Kutta warm-up and those of the multistep calls, both falling."""
    if skip_warm_up:
        # The second timestep comes twice: the first step is done once roughly and once with the mean of both slopes.
        return spaced[:0], np.concatenate([spaced[:-1], spaced[-2:-1], spaced[-1:]])[::-1]
    halves = spaced[-_RUNGE_KUTTA_STEPS:].repeat(2) + np.tile([0, stride // 2], _RUNGE_KUTTA_STEPS)
    return halves[:-1].repeat(2)[1:-1][::-1], spaced[:-3][::-1]


def _alphas_cumprod(settings: PndmConfig) -> Array:
    """The cumulative products of 1 - beta: float32 factors multiplied in float64, as PyTorch does."""
    count = settings.num_train_timesteps
    if settings.trained_betas is not None:
        betas = np.asarray(settings.trained_betas, dtype=np.float32)
    elif settings.beta_schedule == "linear":
        betas = _linspace(settings.beta_start, settings.beta_end, count)
    elif settings.beta_schedule == "scaled_linear":
        betas = _linspace(settings.beta_start**0.5, settings.beta_end**0.5, count) ** 2
    else:
        betas = _cosine_betas(count)
    alphas: Array = np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)
    alphas.setflags(write=False)
    return alphas


def _linspace(start: float, end: float, count: int) -> Array:
    """As torch.linspace in float32, which counts from both ends with a float32 step and a fused multiply-add."""
    first, last = np.float32(start), np.float32(end)
    step = np.float64((last - first) / np.float32(count - 1))
    index = np.arange(count)
    rising = np.float64(first) + step * index
    falling = np.float64(last) - step * (count - 1 - index)
    return np.where(index < count // 2, rising, falling).astype(np.float32)


def _cosine_betas(count: int, largest: float = 0.999) -> Array:
    """Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17."""

    def level(position: float) -> float:
        return math.cos((position + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - level((i + 1) / count) / level(i / count), largest) for i in range(count)]
    return np.asarray(betas, dtype=np.float32)
