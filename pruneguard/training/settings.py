"""Settings of a training run, checked when made, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pruneguard.diffusion.snr import SNRForm
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import SourceSettings
from pruneguard.errors import ConfigError
from pruneguard.runtime.sampling.request import MAX_SEED
from pruneguard.training.schedules.alternating import LevelSettings, find_schedule

Precision = Literal["no", "bf16"]
Tracker = Literal["auto", "tensorboard", "none"]


def _require(holds: bool, where: str, message: str) -> None:
    if not holds:
        raise ConfigError(f"{where}: {message}")


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
            _require(math.isfinite(value) and value >= 0, "losses", f"`{name}` is {value}; it must be at least 0")
        _require(self.ddpm + self.output_kd + self.feature_kd > 0, "losses", "all weights are 0; give one a weight")
        forms = get_args(SNRForm)
        _require(self.min_snr_form in forms, "losses", f"`min_snr_form` is {self.min_snr_form!r}; choose from {forms}")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """A training run. `steps` counts lower steps; `every` of them go before each upper step."""

    steps: int = 20_000
    batch_size: int = 64
    """Rows of one lower step over all processes and accumulation."""
    accumulation: int = 1
    every: int = 20
    schedule: str = "alternating"
    lower: LevelSettings = field(default_factory=LevelSettings)
    upper: LevelSettings = field(default_factory=lambda: LevelSettings(lr=5e-6))
    losses: LossSettings = field(default_factory=LossSettings)
    erasure: ErasureSettings = field(default_factory=ErasureSettings)
    caption_dropout: float = 0.1
    """Share of rows that train the unconditional branch, which guidance needs."""
    max_grad_norm: float | None = None
    seed: int = 0
    precision: Precision = "no"
    tracker: Tracker = "auto"
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    explosion: float = 1e3
    """A loss beyond this multiple of its running median stops the run."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "every", "checkpoint_every", "keep_checkpoints"):
            _require(getattr(self, name) >= 1, "training", f"`{name}` is {getattr(self, name)}; it must be at least 1")
        _require(
            self.batch_size % self.accumulation == 0,
            "training",
            f"`batch_size` {self.batch_size} is not a multiple of `accumulation` {self.accumulation}; make it one",
        )
        _require(
            self.erasure.batch_size % self.accumulation == 0,
            "training",
            f"`erasure.batch_size` {self.erasure.batch_size} is not a multiple of `accumulation` {self.accumulation}; "
            "make it one",
        )
        # Picture i of a set is drawn from a seed i higher.
        _require(
            0 <= self.seed <= MAX_SEED // 2, "training", f"`seed` is {self.seed}; it must be at least 0, and below 2^62"
        )
        _require(0 <= self.caption_dropout <= 1, "training", "`caption_dropout` must lie between 0 and 1")
        norm = self.max_grad_norm
        _require(
            norm is None or (math.isfinite(norm) and norm > 0),
            "training",
            f"`max_grad_norm` is {norm}; it must be above 0, or left out",
        )
        _require(math.isfinite(self.explosion) and self.explosion > 1, "training", "`explosion` must be above 1")
        # float16 would need loss scaling with a state for each level; bfloat16 has float32's range and needs none.
        _require(
            self.precision in get_args(Precision),
            "training",
            f"`precision` is {self.precision!r}; choose from {', '.join(get_args(Precision))}",
        )
        _require(
            self.tracker in get_args(Tracker),
            "training",
            f"`tracker` is {self.tracker!r}; choose from {', '.join(get_args(Tracker))}",
        )
        find_schedule(self.schedule)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and TOML; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, base: TrainSettings | None = None) -> TrainSettings:
        """`base`, or the defaults, with the fields that `values` names; nested tables override field by field."""
        settings = override(base or cls(), values, "training")
        assert isinstance(settings, cls)
        return settings


def override(settings: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """A settings dataclass with the fields that `values` names; ConfigError for an unknown name or a wrong type.

    `where` names the table in errors; it is empty for the outermost one.
    """
    hints = get_type_hints(type(settings))
    known = [entry.name for entry in fields(settings)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"{where or 'configuration'}: no setting {name!r}: {hint}settings are {', '.join(known)}")
        current, inner = getattr(settings, name), f"{where}.{name}" if where else name
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name!r} is {value!r}; it must be a table, [{inner}]")
            changes[name] = override(current, value, inner)
        else:
            changes[name] = _typed(value, hints[name], f"{where}: {name!r}" if where else repr(name))
    return replace(settings, **changes)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """The value if it has the field's type; JSON's integers pass for floats and its lists for tuples."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None and type(None) in choices else _typed(value, choices[0], where)
    if origin is Literal:
        kind: Any = str
    elif origin is tuple:
        if not isinstance(value, list | tuple):
            return _wrong(value, "a list", where)
        return tuple(_typed(entry, choices[0], f"{where}: an entry") for entry in value)
    elif origin is not None:
        return dict(value) if isinstance(value, Mapping) else _wrong(value, "a table", where)
    else:
        kind = hint
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
        return _wrong(value, f"of type {kind.__name__}", where)
    return value


def _wrong(value: Any, expected: str, where: str) -> Any:
    raise ConfigError(f"{where} is {value!r}; it must be {expected}")


def stable_diffusion() -> TrainSettings:
    """The paper's settings (supplement C): eight GPUs' worth of batch, K 20, ESD on forward-noised concept latents."""
    return TrainSettings(
        steps=20_000,
        batch_size=64,
        every=20,
        lower=LevelSettings(lr=1e-6, warmup=250),
        upper=LevelSettings(lr=5e-6, warmup=250),
        erasure=ErasureSettings(eraser="esd", source=SourceSettings(kind="noised"), batch_size=64, images=256),
    )


def atelier() -> TrainSettings:
    """For the embedded model: minutes on two cores.

    Anchor mapping keeps colours and objects where ESD changes them. At guidance 7.5 the unconditional prediction's
    error counts most, and in 150 steps a tenth of the rows would teach it little: hence more caption dropout.
    """
    return TrainSettings(
        steps=150,
        batch_size=16,
        every=3,
        lower=LevelSettings(lr=6e-4, warmup=20, decay="cosine"),
        upper=LevelSettings(lr=4e-4, warmup=20, decay="cosine"),
        erasure=ErasureSettings(
            eraser="anchor",
            parameters="all",
            source=SourceSettings(kind="mixed", share=0.6, others="anchors"),
            batch_size=16,
            images=48,
        ),
        caption_dropout=0.2,
        max_grad_norm=1.0,
        checkpoint_every=50,
    )


_PRESETS = {"stable-diffusion": stable_diffusion, "atelier": atelier}


def list_presets() -> tuple[str, ...]:
    """Names that `preset` knows."""
    return tuple(_PRESETS)


def preset(name: str) -> TrainSettings:
    """The preset of that name; ConfigError names all of them for one that is not there."""
    if name not in _PRESETS:
        raise ConfigError(f"no training preset {name!r}; choose from {', '.join(_PRESETS)}")
    return _PRESETS[name]()
