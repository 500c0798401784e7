"""Audits of a bundle's model or engine, and their record in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pruneguard.bundle import Audit, Bundle, BundleDraft, write_bundle
from pruneguard.concepts import Concept, Family
from pruneguard.errors import ConfigError, LineageError
from pruneguard.evaluation.audit import AuditResult, AuditSettings, run_audit
from pruneguard.evaluation.detectors.detector import Detector, build_detector
from pruneguard.evaluation.prompts import AuditPrompts, atelier_prompts, general_prompts
from pruneguard.runtime import Components, onnx_components, torch_components
from pruneguard.stages.models import load_teacher
from pruneguard.stages.settings import family_of
from pruneguard.training import Advance, OnProgress


def find_detector(spec: str, family: Family) -> Detector | None:
    """The detector of that name; `auto` is the oracle for atelier and none elsewhere."""
    if spec == "auto":
        return build_detector("oracle") if family == "atelier" else None
    return build_detector(spec)


def prompts_for(concept: Concept, family: Family, settings: AuditSettings) -> AuditPrompts:
    """Held-out captions on atelier, the concept's own prompts and neighbours elsewhere."""
    if family == "atelier" and concept.detect.get("attribute") in ("object", "style", "colour", "dress"):
        return atelier_prompts(concept, target=settings.target, other=settings.other, seed=settings.seed)
    # What the neighbours' pictures keep, only an oracle could tell.
    return general_prompts(concept, target=settings.target, other=0)


def audit_components(
    name: str,
    components: Components,
    concepts: Sequence[Concept],
    family: Family,
    detector: Detector,
    settings: AuditSettings,
    on_progress: OnProgress,
) -> list[AuditResult]:
    """One result a concept."""
    results = []
    for concept in concepts:
        prompts = prompts_for(concept, family, settings)
        phase, total = f"audit {name}: {concept.name}", len(prompts.target) + len(prompts.other)
        done = 0

        def advance(count: int, phase: str = phase, total: int = total) -> None:
            nonlocal done
            done += count
            on_progress(Advance(phase, done, total))

        on_progress(Advance(phase, 0, total))
        results.append(run_audit(components, concept, prompts, detector, settings, on_images=advance))
    return results


def to_record(result: AuditResult, subject: str, settings: AuditSettings, digests: Mapping[str, str]) -> Audit:
    """A result as the manifest keeps it."""
    return Audit(
        concept=result.concept,
        subject=subject,
        target_rate=result.target_rate,
        limit=settings.limit,
        passed=result.target_rate <= settings.limit,
        preserved=result.preserved,
        images=len(result.target_images) + len(result.other_images),
        digests=dict(digests),
        detector=result.detector,
        target_images=len(result.target_images),
        seed=settings.seed,
    )


def bundle_concepts(bundle: Bundle) -> tuple[Concept, ...]:
    """The concepts that a bundle's policy names, as its manifest keeps them."""
    kept = bundle.manifest.concepts
    if missing := [name for name in bundle.manifest.policy_concepts if name not in kept]:
        raise ConfigError(f"{bundle.path}: the policy names {missing[0]!r}, which the manifest does not describe")
    return tuple(Concept.from_dict(kept[name], str(bundle.path)) for name in bundle.manifest.policy_concepts)


def recorded_audit(bundle: Bundle) -> tuple[AuditSettings, str]:
    """How the training stage audited, and with which detector, so that later stages measure the same."""
    for stage in bundle.manifest.stages:
        if stage.name == "train" and "audit" in stage.settings:
            recorded = AuditSettings(**stage.settings["audit"])
            return replace(recorded, limit=bundle.manifest.policy_limit), str(stage.settings.get("detector", "auto"))
    return AuditSettings(limit=bundle.manifest.policy_limit), "auto"


def subject_components(bundle: Bundle, subject: str) -> Components:
    """What draws for a subject: the torch model or the ONNX engines."""
    if subject == "onnx":
        return onnx_components(bundle)
    return torch_components(load_teacher(bundle.path))


def overrules(new: Audit, earlier: Audit | None, images: int) -> bool:
    """Whether an audit may enter the manifest in place of an earlier one of the same concept and subject.

    Of the same weights one could otherwise try until one is lucky. What another detector says is no answer to the
    earlier one. A failure always is. A pass must have been as hard to get: from the same seed, with at least as many
    pictures that call for the concept, and never fewer than `images`, as many as the training stage drew.
    """
    if earlier is None or new.digests != earlier.digests:
        return not new.passed or new.target_images >= images
    if new.detector != earlier.detector:
        return False
    as_hard = new.seed == earlier.seed and new.target_images >= max(earlier.target_images, images)
    return as_hard or not new.passed


def record_audits(
    draft: BundleDraft, subject: str, results: Sequence[AuditResult], settings: AuditSettings, images: int
) -> list[str]:
    """Writes into the manifest what may be written; returns the concepts whose result may not, by `overrules`."""
    earlier = {audit.concept: audit for audit in draft.manifest.audits if audit.subject == subject}
    digests, dropped = draft.weights(subject), []
    for result in results:
        record = to_record(result, subject, settings, digests)
        if overrules(record, earlier.get(result.concept), images):
            draft.add_audit(record)
        else:
            dropped.append(result.concept)
    return dropped


def audit_bundle(
    path: Path, subject: str, detector: str, settings: AuditSettings, on_progress: OnProgress
) -> tuple[list[AuditResult], list[str]]:
    """Measure a subject of a bundle and write the audits into its manifest.

    Returns the results, and the concepts whose result was not recorded, by `overrules`. Raises ConfigError without a
    detector.
    """
    bundle = Bundle.open(path)
    seal = bundle.verify()
    family = family_of(path)
    found = find_detector(detector, family)
    if found is None:
        raise ConfigError("an audit needs a detector: give --detector clip:FOLDER_OR_HUB_ID")
    components, concepts = subject_components(bundle, subject), bundle_concepts(bundle)
    seal.check()
    results = audit_components(subject, components, concepts, family, found, settings, on_progress)
    with write_bundle(path, base=path) as draft:
        if draft.weights(subject) != bundle.weights(subject):
            raise LineageError(f"{path} was changed during the audit, which measured what is gone; run it again")
        dropped = record_audits(draft, subject, results, settings, recorded_audit(bundle)[0].target)
    return results, dropped
