"""The contract of model families, and their registry. A family is what models of one kind differ in from others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pruneguard.bundle import Bundle
from pruneguard.concepts import Concept, read_concept, suppress_together
from pruneguard.errors import BundleError, ConfigError, nearest
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.prompts import AuditPrompts, prompts_apart
from pruneguard.registry import Registry
from pruneguard.training.settings import TrainSettings

DEFAULT = "stable-diffusion"
"""The family of a model that no family claims."""


def _apart(concept: Concept, settings: AuditSettings) -> AuditPrompts | None:
    return prompts_apart(concept, target=settings.target, implicit=settings.implicit)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models of one kind: which they are, how they are trained, and how they are audited."""

    name: str
    claims: Callable[[str], bool]
    """Whether a model's name, folder or hub id is known to belong to this family."""
    preset: TrainSettings
    """Training settings that suit these models."""
    concept_names: tuple[str, ...]
    """Concepts that `--concepts` takes by name."""
    concept: Callable[[str, Collection[str]], Concept]
    """The concept of one of these names; if it can, with anchors that are none of the other names given."""
    audit_prompts: Callable[[Concept, AuditSettings], AuditPrompts]
    audit: AuditSettings = field(default_factory=AuditSettings)
    """Audit settings that suit these models; a configuration changes them."""
    validation_prompts: Callable[[Concept, AuditSettings], AuditPrompts | None] = _apart
    """Prompts that neither training nor audits use, for small audits during training; None if there are too few."""
    data: str | None = None
    """The data source for training if none is chosen; None if one must be chosen."""
    detector: Callable[[Concept], str | None] = lambda concept: None
    """The detector for a concept that names none; None if one must be named."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics that every audit of these models measures."""

    def load_concepts(self, names_or_paths: Sequence[str | Path]) -> tuple[Concept, ...]:
        """The concepts, each a name or a TOML file, to be suppressed together. Raises ConfigError with the remedy."""
        names = [_name(str(given)) for given in names_or_paths]
        return suppress_together([self.load_concept(given, names) for given in names_or_paths])

    def load_concept(self, name_or_path: str | Path, beside: Collection[str] = ()) -> Concept:
        """The concept of that name, or the one in that TOML file. Raises ConfigError, which names the remedy.

        `beside` are names that its anchors must not be.
        """
        given = str(name_or_path)
        if given.endswith(".toml") or "/" in given:
            return read_concept(Path(given))
        name = _name(given)
        if name not in self.concept_names:
            raise ConfigError(
                f"no concept {given!r} for {self.name} models: {nearest(name, self.concept_names)}; or give the path "
                "of a TOML file"
            )
        return self.concept(name, beside)


def _name(given: str) -> str:
    return given.strip().lower().replace("_", "-").replace(" ", "-")


FAMILIES: Registry[Callable[[], Family]] = Registry("family", packages=("pruneguard.families",))
"""Families by name; `build` takes nothing and returns the family."""


def find_family(name: str) -> Family:
    """The family of that name. Raises ConfigError, which proposes the nearest names."""
    return FAMILIES.find(name).build()


def family_of(model: str | Path) -> Family:
    """The family that a bundle records, else the one that claims the model, else the default.

    Raises ConfigError if a bundle records a family that is not installed, and if several families claim the model.
    """
    if recorded := _recorded(Path(model)):
        return find_family(recorded)
    claiming = [family for family in map(find_family, FAMILIES.names()) if family.claims(str(model))]
    if len(claiming) > 1:
        names = " and ".join(family.name for family in claiming)
        raise ConfigError(f"the model {model} is claimed by the families {names}; only one of them may claim it")
    return claiming[0] if claiming else find_family(DEFAULT)


def _recorded(path: Path) -> str:
    """The family that a bundle records; empty for everything that is not such a bundle."""
    try:
        return Bundle.open(path).manifest.family
    except BundleError:
        return ""
