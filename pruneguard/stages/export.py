"""The export stage: engines that agree with the model, audited as they will be served."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneguard.bundle import FORMAT, MODEL, Bundle, BundleDraft, EngineRecord, Stage, check_engine_name, write_bundle
from pruneguard.errors import ConfigError, LineageError
from pruneguard.export import TARGETS
from pruneguard.families import family_of
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import check_prompts_differ, open_engine
from pruneguard.settings import Choice, plain
from pruneguard.stages.audit import bundle_concepts, recorded_audit
from pruneguard.stages.auditing.calibration import calibrated
from pruneguard.stages.auditing.control import bundle_controls
from pruneguard.stages.auditing.drawing import audit_components, find_detectors
from pruneguard.stages.auditing.record import Judged, record_audits


@dataclass(frozen=True)
class ExportResult:
    """The bundle after an export, its new engine, and the audits of it."""

    bundle: Bundle
    name: str
    engine: EngineRecord
    audits: list[Judged]


def export_bundle(
    path: Path,
    *,
    target: Choice | str = "onnx",
    name: str | None = None,
    detector: str | None = None,
    on_progress: OnProgress,
) -> ExportResult:
    """Adds an engine under `engines/<name>/`, its parity report and its audits; the bundle changes whole or not at all.

    `name` is by default the target and its precision, such as `onnx-fp32`. The audit is the training stage's, with
    another detector if one is given. Raises ExportError for an engine that does not agree with the model,
    ConfigError for a bundle without a model, InvalidAuditError for a detector that cannot tell a concept, and
    LineageError for a bundle that another process changed meanwhile.
    """
    chosen = Choice(target) if isinstance(target, str) else target
    entry, settings = TARGETS.find(chosen.name), TARGETS.settings(chosen)
    name = check_engine_name(name or f"{chosen.name}-{settings.precision}", "--name")
    bundle = Bundle.open(path)
    if not bundle.digests(MODEL):
        raise ConfigError(f"{path} has no model/ to export; run `pruneguard train --out {path}` first")
    concepts = bundle_concepts(bundle)
    audit, spec = recorded_audit(bundle)
    family = family_of(path)
    detectors = find_detectors(detector or spec, family, concepts)
    controls = bundle_controls(bundle, concepts, family, detectors, audit, on_progress)
    looking = calibrated(detectors, controls)
    with write_bundle(path, base=path) as draft:
        if Bundle.open(path).digest != bundle.digest:
            raise LineageError(f"{path} was changed by another process meanwhile; run the stage again")
        if bundle.format < FORMAT:
            # The engines of format 1 run nowhere any more.
            shutil.rmtree(draft.folder / "onnx", ignore_errors=True)
            (draft.folder / "reports/parity.json").unlink(missing_ok=True)
        place = f"engines/{name}"
        folder = draft.folder / place
        shutil.rmtree(folder, ignore_errors=True)
        engine, report = entry.build(
            load_pipeline(draft.folder / "model"),
            folder,
            place,
            settings,
            prompts=[prompt for concept in concepts for prompt in concept.neighbours][:8] or None,
            on_progress=lambda stage, done, total: on_progress(Advance("export", done, total, detail=stage)),
        )
        draft.add_engine(name, engine)
        _record(draft, chosen, name, engine, report)
        audits: list[Judged] = []
        with draft.copied(name) as files:
            components = open_engine(files, draft.manifest, name)
        check_prompts_differ(components)
        if looking:
            results = audit_components(name, components, concepts, family, looking, audit, on_progress, engine=engine)
            audits = record_audits(draft, name, results, controls, audit, trained=audit)
    return ExportResult(Bundle.open(path), name, engine, audits)


def _record(draft: BundleDraft, target: Choice, name: str, engine: EngineRecord, report: dict[str, Any]) -> None:
    """Writes the parity report, and adds the stage to the lineage; each engine has a stage of its own."""
    path = f"reports/parity-{name}.json"
    (draft.folder / path).parent.mkdir(exist_ok=True)
    (draft.folder / path).write_text(json.dumps(report, indent=2, sort_keys=True))
    draft.add_stage(
        Stage(
            name=f"export {name}",
            inputs=draft.digests(MODEL),
            outputs=[f"engines/{name}", path],
            settings=plain(target),
            versions=dict(engine.built_with),
            measurements=[*engine.measurements, *engine.parity],
        )
    )
