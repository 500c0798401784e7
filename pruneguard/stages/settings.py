"""What one way from a dense model to an erased pruned one is asked to do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruneguard.concepts import Concept, Family, load_concept
from pruneguard.errors import BundleError, ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.pruning.criteria import load_criterion
from pruneguard.settings import override, plain
from pruneguard.training.settings import TrainSettings, preset


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the lower level's pictures come from."""

    source: str = "auto"  # auto, atelier, synthetic, coco, or a folder of images with metadata.jsonl
    captions: str | None = None  # synthetic: a text file, a caption a line; coco: the annotations
    images: str | None = None  # coco: the folder of pictures
    size: int = 2048  # pictures that atelier renders or the teacher draws
    cache_mib: int = 2048  # latents beyond this are kept as float16 and mapped from files instead of held in memory

    def __post_init__(self) -> None:
        for name in ("size", "cache_mib"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data: `{name}` is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class PruneSettings:
    """How much stays, and what decides it."""

    budget: float = 0.58  # share of the dense UNet's MACs
    criterion: str = "taylor"
    batches: int = 16  # batches of training data that a data-driven criterion reads

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise ConfigError(f"prune: `budget` is {self.budget}; it must be above 0 and at most 1")
        if self.batches < 1:
            raise ConfigError(f"prune: `batches` is {self.batches}; it must be at least 1")
        load_criterion(self.criterion)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run of `pruneguard train`: a teacher, what it must forget, and how."""

    model: str = "atelier"
    student: str | None = None  # a model that was pruned before; the search is left out
    concepts: tuple[str, ...] = ()
    detector: str = "auto"  # auto: the oracle for atelier, none elsewhere
    data: DataSettings = field(default_factory=DataSettings)
    prune: PruneSettings = field(default_factory=PruneSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values: dict[str, Any] = plain(self)
        return values

    def to_toml(self) -> str:
        """A configuration file that asks for the same; what is None is left to the preset."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.to_dict()))

    @property
    def family(self) -> Family:
        """Which concepts and presets fit the model."""
        return family_of(self.model)

    def load_concepts(self) -> tuple[Concept, ...]:
        """The concepts by name; ConfigError for one that is not there."""
        return tuple(load_concept(name, family=self.family) for name in self.concepts)

    @classmethod
    def resolve(cls, model: str, tables: Mapping[str, Any], **given: Any) -> RunSettings:
        """The model's preset, changed by a configuration's tables and then by what is `given`.

        Raises ConfigError for an unknown table or field, and for a value that cannot be.
        """
        base = cls(training=preset("atelier" if family_of(str(model)) == "atelier" else "stable-diffusion"))
        return override(base, {**tables, "model": model, **given})


def family_of(model: str | Path) -> Family:
    """`atelier` for the embedded model and every bundle made from it, `general` for all else."""
    from pruneguard import atelier
    from pruneguard.bundle import Bundle

    if str(model) == "atelier" or Path(model).absolute() == atelier.folder():
        return "atelier"
    try:
        stages = Bundle.open(Path(model)).manifest.stages
    except BundleError:
        return "general"
    return "atelier" if stages and stages[0].settings.get("family") == "atelier" else "general"


def read_tables(path: Path | None) -> dict[str, Any]:
    """The content of a TOML configuration; ConfigError names the file and what is wrong with it."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read ({error.strerror}); give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not valid TOML: {error}; correct it there") from None


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
        if value is not None
    }
