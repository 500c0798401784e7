"""The audit stage: measures a bundle's model or engine against the teacher, and records it in the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pruneguard.bundle import MODEL, Bundle, amend_bundle
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.families import family_of
from pruneguard.runs.progress import OnProgress
from pruneguard.runtime import Components, engine_components, torch_components
from pruneguard.settings import convert
from pruneguard.stages.auditing.calibration import calibrated, check_reach
from pruneguard.stages.auditing.control import bundle_controls
from pruneguard.stages.auditing.drawing import AUTO, audit_components, find_detectors
from pruneguard.stages.auditing.record import Judged, record_audits
from pruneguard.stages.models import load_teacher


def bundle_concepts(bundle: Bundle) -> tuple[Concept, ...]:
    """The concepts that a bundle's policy names, from its manifest. Raises ConfigError if one is not described."""
    kept = bundle.manifest.concepts
    if missing := [name for name in bundle.manifest.policy.concepts if name not in kept]:
        raise ConfigError(f"{bundle.path}: the policy names {missing[0]!r}, which the manifest does not describe")
    return tuple(Concept.from_dict(kept[name], str(bundle.path)) for name in bundle.manifest.policy.concepts)


def recorded_audit(bundle: Bundle) -> tuple[AuditSettings, str]:
    """The audit settings and the detector setting of the training stage, so that later stages measure the same.

    Raises ConfigError for settings that are no audit's.
    """
    for stage in bundle.manifest.stages:
        if stage.name == "train" and "audit" in stage.settings:
            recorded = convert(stage.settings["audit"], AuditSettings, f"{bundle.path}, audit of the training stage")
            return replace(recorded, limit=bundle.manifest.policy.limit), str(stage.settings.get("detector", AUTO))
    return AuditSettings(limit=bundle.manifest.policy.limit), AUTO


def subject_components(bundle: Bundle, subject: str) -> Components:
    """The components that draw for a subject that is here: those of the torch model, or of an engine."""
    if subject == MODEL:
        return torch_components(load_teacher(bundle.path))
    return engine_components(bundle, subject)


def audit_bundle(
    path: Path,
    subject: str,
    detector: str,
    settings: AuditSettings,
    on_progress: OnProgress,
    *,
    teacher: str | None = None,
) -> list[Judged]:
    """Measures a subject of a bundle and writes the audits into its manifest.

    `teacher` draws the controls that are not on record; see `bundle_controls`. Raises ConfigError if a concept has no
    detector and for too few pictures to pass, InvalidAuditError for a detector that cannot tell it, and LineageError if
    the bundle changed.
    """
    bundle = Bundle.open(path)
    seal = bundle.verify()
    bundle.require_subject(subject)
    family, concepts = family_of(path), bundle_concepts(bundle)
    detectors = find_detectors(detector, family, concepts)
    if missing := [concept.name for concept in concepts if concept.name not in detectors]:
        raise ConfigError(f"an audit of {missing[0]!r} needs a detector: give --detector clip:FOLDER_OR_HUB_ID")
    check_reach({concept.name: () for concept in concepts}, settings)  # before a control is drawn
    controls = bundle_controls(bundle, concepts, family, detectors, settings, on_progress, teacher=teacher)
    check_reach(controls, settings)
    components = subject_components(bundle, subject)
    seal.check()
    engine, looking = bundle.manifest.engines.get(subject), calibrated(detectors, controls)
    results = audit_components(subject, components, concepts, family, looking, settings, on_progress, engine=engine)
    with amend_bundle(bundle, seal) as draft:
        return record_audits(draft, subject, results, controls, settings, trained=recorded_audit(bundle)[0])
