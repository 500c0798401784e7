"""Settings of a training run, checked when made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pruneguard.diffusion.snr import SNRForm
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.runs.record import FREE
from pruneguard.runtime.sampling.request import MAX_SEED
from pruneguard.settings import Choice, override, plain, require
from pruneguard.training.schedules.contract import SCHEDULES, Pacing
from pruneguard.training.schedules.rate import LevelSettings

Precision = Literal["no", "bf16"]
Tracker = Literal["auto", "tensorboard", "none"]


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the lower level's terms, L_ft = ddpm L_DDPM + output_kd L_OutKD + feature_kd L_FeatKD."""

    ddpm: float = 1.0
    output_kd: float = 2.0
    feature_kd: float = 0.1
    min_snr_gamma: float = 5.0
    """0 leaves the DDPM loss unweighted."""
    min_snr_form: SNRForm = "official"

    def __post_init__(self) -> None:
        for name in ("ddpm", "output_kd", "feature_kd", "min_snr_gamma"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, "losses", f"`{name}` is {value}; it must be at least 0")
        require(self.ddpm + self.output_kd + self.feature_kd > 0, "losses", "all weights are 0; give one a weight")
        forms = get_args(SNRForm)
        require(self.min_snr_form in forms, "losses", f"`min_snr_form` is {self.min_snr_form!r}; choose from {forms}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training run. `steps` counts lower steps; the schedule says how many upper ones there are, and when."""

    steps: int = 20_000
    batch_size: int = 64
    """Rows of one lower step over all processes and accumulation."""
    accumulation: int = 1
    schedule: Choice = field(default=Choice("alternating"))
    """The schedule and its own options, such as `every`."""
    lower: LevelSettings = field(default_factory=LevelSettings)
    upper: LevelSettings = field(default_factory=lambda: LevelSettings(lr=5e-6))
    losses: LossSettings = field(default_factory=LossSettings)
    erasure: ErasureSettings = field(default_factory=ErasureSettings)
    caption_dropout: float = 0.1
    """Share of rows that train the unconditional branch, which guidance needs."""
    max_grad_norm: float | None = None
    seed: int = 0
    begun: int = 0
    """Lower steps that an earlier run of this seed took: batches count on from there."""
    precision: Precision = "no"
    tracker: Tracker = field(default="auto", metadata=FREE)
    checkpoint_every: int = field(default=500, metadata=FREE)
    """Events of the schedule between two checkpoints."""
    keep_checkpoints: int = field(default=2, metadata=FREE)
    explosion: float = 1e3
    """A loss beyond this multiple of its running median stops the run."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "checkpoint_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, "training", f"`{name}` is {getattr(self, name)}; it must be at least 1")
        require(
            self.batch_size % self.accumulation == 0,
            "training",
            f"`batch_size` {self.batch_size} is not a multiple of `accumulation` {self.accumulation}; make it one",
        )
        require(
            self.erasure.batch_size % self.accumulation == 0,
            "training",
            f"`erasure.batch_size` {self.erasure.batch_size} is not a multiple of `accumulation` {self.accumulation}; "
            "make it one",
        )
        # Picture i of a set is drawn from a seed i higher.
        require(
            0 <= self.seed <= MAX_SEED // 2, "training", f"`seed` is {self.seed}; it must be at least 0, and below 2^62"
        )
        require(self.begun >= 0, "training", f"`begun` is {self.begun}; it must be at least 0")
        require(0 <= self.caption_dropout <= 1, "training", "`caption_dropout` must lie between 0 and 1")
        norm = self.max_grad_norm
        require(
            norm is None or (math.isfinite(norm) and norm > 0),
            "training",
            f"`max_grad_norm` is {norm}; it must be above 0, or left out",
        )
        require(math.isfinite(self.explosion) and self.explosion > 1, "training", "`explosion` must be above 1")
        # float16 would need loss scaling with a state for each level; bfloat16 has float32's range and needs none.
        require(
            self.precision in get_args(Precision),
            "training",
            f"`precision` is {self.precision!r}; choose from {', '.join(get_args(Precision))}",
        )
        require(
            self.tracker in get_args(Tracker),
            "training",
            f"`tracker` is {self.tracker!r}; choose from {', '.join(get_args(Tracker))}",
        )
        # Every option is written out, so that a record or a configuration shows the defaults too.
        complete = plain(SCHEDULES.settings(self.schedule))
        object.__setattr__(self, "schedule", Choice(self.schedule.name, complete))

    @property
    def pacing(self) -> Pacing:
        """What every schedule is told."""
        return Pacing(self.steps, self.lower, self.upper, self.max_grad_norm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and TOML; `from_dict` reads them back."""
        values: dict[str, Any] = plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, base: TrainSettings | None = None) -> TrainSettings:
        """`base`, or the defaults, with the fields that `values` names; nested tables override field by field."""
        return override(base or cls(), values, "training")
