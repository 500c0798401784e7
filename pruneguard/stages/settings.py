"""Settings of one `train` or `prune` run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.metrics.metric import METRICS
from pruneguard.families import Family, family_of
from pruneguard.pruning.criteria import load_criterion
from pruneguard.runtime import SOLVERS
from pruneguard.settings import Choice, override, plain
from pruneguard.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The pictures and captions of the lower level."""

    source: Choice = field(default_factory=lambda: Choice("auto"))
    """A data source and its options: auto (the family's own), a source's name, or a folder with metadata.jsonl."""
    captions: str | None = None
    """For sources that take it: synthetic's text file with a caption a line, coco's annotations."""
    images: str | None = None
    """For sources that take it: coco's folder of pictures."""
    size: int = 2048
    """For sources that make pictures: how many."""
    cache_mib: int = 2048
    """Latents beyond this size are kept as float16 and mapped from files."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a number below 1."""
        for name in ("size", "cache_mib"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data: `{name}` is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class PruneSettings:
    """The MAC budget, and the criterion that decides what stays."""

    budget: float = 0.58
    """Share of the dense UNet's MACs."""
    criterion: str = "taylor"
    batches: int = 16
    """Batches of training data for a criterion that reads data."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a value out of range and for an unknown criterion."""
        if not 0 < self.budget <= 1:
            raise ConfigError(f"prune: `budget` is {self.budget}; it must be above 0 and at most 1")
        if self.batches < 1:
            raise ConfigError(f"prune: `batches` is {self.batches}; it must be at least 1")
        load_criterion(self.criterion)


@dataclass(frozen=True, kw_only=True)
class ProofSettings:
    """How a run goes on until small audits on validation prompts say that its concepts are suppressed."""

    rounds: int = 4
    """The most further rounds of training; 0 trains once, and checks neither the model nor whether audits can pass."""
    edit: bool = True
    """Try an edit in closed form before a further round, if a metric of the audits says what is kept."""
    share: float = 0.34
    """The steps of a further round, as a share of the first one's."""
    rate: float = 0.5
    """The learning rates of a further round, as a share of the first one's."""
    target: int | None = None
    """Pictures of a check whose prompts name the concept; as many as an audit's if it is not set."""
    implicit: int | None = None
    """Pictures whose prompts do not name it; as many as an audit's if it is not set."""
    other: int = 48
    """Pictures that do not call for it."""

    def __post_init__(self) -> None:
        """Raises ConfigError for values that make no rounds or no check."""
        for name, least in (("rounds", 0), ("target", 1), ("implicit", 1), ("other", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"proof: `{name}` is {value}; it must be at least {least}")
        for name in ("share", "rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"proof: `{name}` is {getattr(self, name)}; it must be above 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run: a teacher, the concepts that it must forget, and how."""

    model: str = "atelier"
    revision: str | None = None
    """The commit, branch or tag of a model on the hub; by default its main branch."""
    keep_safety_checker: bool = False
    """Copy the teacher's safety checker into the bundle, for diffusers; the runtime does not use it."""
    scheduler: str | None = None
    """The solver to draw with although the model came with another scheduler; by default that is an error."""
    student: str | None = None
    """A model that was pruned before; without one the run searches a pruning plan."""
    concepts: tuple[str, ...] = ()
    detector: str = "auto"
    """The detector of all audits; `auto` takes each concept's own, or the default of the model's family."""
    data: DataSettings = field(default_factory=DataSettings)
    prune: PruneSettings = field(default_factory=PruneSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    proof: ProofSettings = field(default_factory=ProofSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def __post_init__(self) -> None:
        """Raises ConfigError for checks that cannot be drawn."""
        try:
            self.checks  # noqa: B018
        except ConfigError as error:
            raise ConfigError(f"[proof], whose checks are small audits: {error}") from None

    @property
    def checks(self) -> AuditSettings:
        """The settings of the small audits between rounds of training. Raises ConfigError."""
        proof, audit = self.proof, self.audit
        target, implicit = proof.target or audit.target, proof.implicit or audit.implicit
        return replace(audit, target=target, implicit=implicit, other=proof.other)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = plain(self)
        return values

    def to_toml(self) -> str:
        """A configuration file that asks for the same settings. Fields that are None are left out."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.to_dict()))

    @property
    def family(self) -> Family:
        """The family of the model: its concepts, data, audits and preset."""
        return family_of(self.model)

    def load_concepts(self) -> tuple[Concept, ...]:
        """The concepts. Raises ConfigError for a name or a file that is not there."""
        return self.family.load_concepts(self.concepts)

    @classmethod
    def resolve(cls, model: str, tables: Mapping[str, Any], **given: Any) -> RunSettings:
        """The presets of the model's family, changed by a configuration's tables and then by what is `given`.

        Raises ConfigError for an unknown table or field, and for a wrong value.
        """
        family = family_of(str(model))
        base = cls(training=family.preset, audit=family.audit)
        settings = override(base, {**tables, "model": model, **given})
        if settings.scheduler is not None:
            SOLVERS.find(settings.scheduler)
        for metric in settings.audit.metrics:
            METRICS.find(metric)
        return settings


def read_tables(path: Path | None) -> dict[str, Any]:
    """The content of a TOML configuration. Raises ConfigError, which names the file and the fault."""
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
