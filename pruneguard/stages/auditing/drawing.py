"""What audits draw with and how they look at it: the detectors and metrics of each concept, and the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pruneguard.bundle import EngineRecord
from pruneguard.concepts import Concept
from pruneguard.evaluation.audit import AuditResult, AuditSettings, run_audit
from pruneguard.evaluation.detectors.detector import Detector, Scorer, build_detector
from pruneguard.evaluation.drawing import SharedPictures
from pruneguard.evaluation.metrics.metric import Metric, build_metric
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families import Family
from pruneguard.runs.progress import OnProgress, counting
from pruneguard.runtime import Components

AUTO = "auto"
"""The detector setting by which each concept has its own."""


def find_detectors(spec: str, family: Family, concepts: Sequence[Concept]) -> dict[str, Detector | Scorer]:
    """The detector of each concept, by the concept's name; equal detectors are loaded once. Scorers decide nothing yet.

    `spec` names the detector of all concepts. With `auto` each concept has the one that it names, or the family's
    default; a concept for which there is neither is left out. Raises ConfigError for a detector that cannot be loaded
    or cannot recognise its concept.
    """
    loaded: dict[str, Detector | Scorer] = {}
    found: dict[str, Detector | Scorer] = {}
    for concept in concepts:
        chosen = (concept.detector or family.detector(concept)) if spec == AUTO else spec
        if chosen is None:
            continue
        if chosen not in loaded:
            loaded[chosen] = build_detector(chosen)
        loaded[chosen].check(concept)
        found[concept.name] = loaded[chosen]
    return found


_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _runs(components: Components, engine: EngineRecord | None) -> dict[str, str]:
    """Precision, backend and provider of what draws, for the protocol of its measurements."""
    if engine is not None:
        return {"precision": engine.precision, "backend": engine.backend, "provider": engine.provider}
    said = components.unet.describe()
    dtype, device = str(said["dtype"]), str(said["device"]).partition(":")[0]
    return {"precision": _PRECISIONS.get(dtype, dtype), "backend": str(said["backend"]), "provider": device}


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
    *,
    engine: EngineRecord | None = None,
    shared: SharedPictures | None = None,
) -> list[AuditResult]:
    """One result for each concept that has a detector, in the order of `concepts`.

    `engine` is the record of the engine that draws; None if a torch model does. `shared` has pictures of earlier calls
    with the same components and settings.
    """
    metrics, runs = find_metrics(family, settings), _runs(components, engine)
    shared = {} if shared is None else shared
    return [
        audit_concept(
            f"audit {subject}",
            components,
            concept,
            family.audit_prompts(concept, settings),
            detectors[concept.name],
            settings,
            on_progress,
            subject=subject,
            metrics=metrics,
            runs=runs,
            shared=shared,
        )
        for concept in concepts
        if concept.name in detectors
    ]


def audit_concept(
    phase: str,
    components: Components,
    concept: Concept,
    prompts: AuditPrompts,
    detector: Detector,
    settings: AuditSettings,
    on_progress: OnProgress,
    *,
    metrics: Sequence[Metric],
    shared: SharedPictures,
    subject: str = "",
    runs: Mapping[str, str] | None = None,
) -> AuditResult:
    """An audit of one concept, which tells its progress as `phase` and the concept's name; see `run_audit`."""
    total = len(prompts.target) + len(prompts.implicit) + len(prompts.other)
    return run_audit(
        components,
        concept,
        prompts,
        detector,
        settings,
        subject=subject,
        runs=runs,
        metrics=metrics,
        shared=shared,
        on_images=counting(on_progress, f"{phase}: {concept.name}", total),
    )
