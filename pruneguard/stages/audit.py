"""Audits of a bundle's model or engine, and their record in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pruneguard.bundle import MODEL, Audit, Bundle, BundleDraft, amend_bundle
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditResult, AuditSettings, run_audit
from pruneguard.evaluation.detectors.detector import Detector, build_detector
from pruneguard.evaluation.metrics.metric import Metric, build_metric
from pruneguard.families import Family, family_of
from pruneguard.measurement import Measurement
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import Components, engine_components, torch_components
from pruneguard.settings import convert
from pruneguard.stages.models import load_teacher

AUTO = "auto"
"""The detector setting by which each concept has its own."""


def find_detectors(spec: str, family: Family, concepts: Sequence[Concept]) -> dict[str, Detector]:
    """The detector of each concept, by the concept's name; equal detectors are loaded once.

    `spec` names the detector of all concepts. With `auto` each concept has the one that it names, or the family's
    default; a concept for which there is neither is left out. Raises ConfigError for a detector that cannot be loaded
    or cannot recognise its concept.
    """
    loaded: dict[str, Detector] = {}
    found: dict[str, Detector] = {}
    for concept in concepts:
        chosen = (concept.detector or family.detector(concept)) if spec == AUTO else spec
        if chosen is None:
            continue
        if chosen not in loaded:
            loaded[chosen] = build_detector(chosen)
        loaded[chosen].check(concept)
        found[concept.name] = loaded[chosen]
    return found


def find_metrics(family: Family, settings: AuditSettings) -> list[Metric]:
    """The metrics of the family, and those that the settings add. Raises ConfigError for an unknown one."""
    return [build_metric(name) for name in dict.fromkeys([*family.metrics, *settings.metrics])]


def audit_components(
    subject: str,
    components: Components,
    concepts: Sequence[Concept],
    family: Family,
    detectors: Mapping[str, Detector],
    settings: AuditSettings,
    on_progress: OnProgress,
) -> list[AuditResult]:
    """One result for each concept that has a detector, in the order of `concepts`."""
    results, metrics = [], find_metrics(family, settings)
    for concept in concepts:
        if concept.name not in detectors:
            continue
        prompts = family.audit_prompts(concept, settings)
        phase, total = f"audit {subject}: {concept.name}", len(prompts.target) + len(prompts.other)
        done = 0

        def advance(count: int, phase: str = phase, total: int = total) -> None:
            nonlocal done
            done += count
            on_progress(Advance(phase, done, total))

        on_progress(Advance(phase, 0, total))
        detector = detectors[concept.name]
        results.append(
            run_audit(
                components,
                concept,
                prompts,
                detector,
                settings,
                subject=subject,
                metrics=metrics,
                on_images=advance,
            )
        )
    return results


def to_record(result: AuditResult, subject: str, settings: AuditSettings, draft: BundleDraft) -> Audit:
    """The manifest's record of a result, bound to the files and settings of the subject in the draft."""
    drawn = result.drawn
    return Audit(
        concept=result.concept,
        subject=subject,
        limit=settings.limit,
        passed=drawn.value <= settings.limit,
        measurements=list(result.measurements),
        digests=draft.digests(subject),
        settings=draft.settings_digest(subject),
    )


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
    """The components that draw for a subject: those of the torch model, or of an engine. Raises BundleError."""
    bundle.require_subject(subject)
    if subject == MODEL:
        return torch_components(load_teacher(bundle.path))
    return engine_components(bundle, subject)


def objection(new: Audit, earlier: Audit | None, images: int) -> str | None:
    """Why an audit must not enter the manifest in place of an earlier one; None if it may.

    This prevents re-running an audit of the same weights until it passes by chance:

    * A failed audit replaces a passed one, whatever its seed, number of pictures or detector.
    * A passed audit needs at least `images` target pictures, the number that the training stage drew.
    * On the same weights a passed audit also needs the detector and the seed of the earlier one and at least as many
      target pictures.
    * A failed audit replaces a failed one of the same detector only. Otherwise the first failure could be replaced by
      that of another detector, and then by that detector's pass.
    """
    drawn, before = new.drawn, None
    if earlier is not None and sorted(new.digests.values()) == sorted(earlier.digests.values()):
        before = earlier.drawn  # an audit of the same weights
    ours = drawn.protocol.detector
    if earlier and before and ours != before.protocol.detector and (new.passed or not earlier.passed):
        return f"the earlier audit of the same weights was read by {before.protocol.detector}, this one by {ours}"
    if not new.passed:
        return None
    needed = max(before.count, images) if before else images
    if drawn.count < needed:
        return f"it passed on {drawn.count} pictures that call for the concept; at least {needed} are needed"
    if before and _first_seed(drawn) != _first_seed(before):
        first, other = _first_seed(drawn), _first_seed(before)
        return f"it passed from seed {first}; the earlier audit of the same weights was drawn from {other}"
    return None


def _earlier(new: Audit, audits: Sequence[Audit]) -> Audit | None:
    """The recorded audit that a new one would replace, or one of the same files under another name."""
    same = [audit for audit in audits if (audit.concept, audit.unet) == (new.concept, new.unet)]
    content = sorted(new.digests.values())
    return next(
        (audit for audit in same if audit.subject == new.subject),
        next((audit for audit in same if sorted(audit.digests.values()) == content), None),
    )


def _first_seed(drawn: Measurement) -> int | None:
    return drawn.seeds[0] if drawn.seeds else None


def record_audits(
    draft: BundleDraft, subject: str, results: Sequence[AuditResult], settings: AuditSettings, images: int
) -> dict[str, str]:
    """Writes into the manifest the results that may be recorded.

    Returns the others: each concept's name with the `objection` to its result.
    """
    dropped: dict[str, str] = {}
    for result in results:
        record = to_record(result, subject, settings, draft)
        if reason := objection(record, _earlier(record, draft.manifest.audits), images):
            dropped[result.concept] = reason
        else:
            draft.add_audit(record)
    return dropped


def audit_bundle(
    path: Path, subject: str, detector: str, settings: AuditSettings, on_progress: OnProgress
) -> tuple[list[AuditResult], dict[str, str]]:
    """Measures a subject of a bundle and writes the audits into its manifest.

    Returns the results, and the concepts whose result was not recorded, each with the reason. Raises ConfigError if a
    concept has no detector, and LineageError if the bundle changed.
    """
    bundle = Bundle.open(path)
    seal = bundle.verify()
    family, concepts = family_of(path), bundle_concepts(bundle)
    detectors = find_detectors(detector, family, concepts)
    if missing := [concept.name for concept in concepts if concept.name not in detectors]:
        raise ConfigError(f"an audit of {missing[0]!r} needs a detector: give --detector clip:FOLDER_OR_HUB_ID")
    components = subject_components(bundle, subject)
    seal.check()
    results = audit_components(subject, components, concepts, family, detectors, settings, on_progress)
    with amend_bundle(bundle, seal) as draft:
        dropped = record_audits(draft, subject, results, settings, recorded_audit(bundle)[0].target)
    return results, dropped
