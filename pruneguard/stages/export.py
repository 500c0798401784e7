"""The export stage: engines that agree with the model, audited as they will be served."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pruneguard.bundle import Bundle, BundleDraft, Stage, write_bundle
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditResult
from pruneguard.export import ExportRecord, write_onnx
from pruneguard.families import family_of
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import onnx_components
from pruneguard.stages.audit import audit_components, bundle_concepts, find_detectors, record_audits, recorded_audit

REPORT = "reports/parity.json"


def export_bundle(
    path: Path,
    *,
    opset: int = 20,
    detector: str | None = None,
    on_progress: OnProgress,
) -> tuple[Bundle, ExportRecord, list[AuditResult]]:
    """Adds `onnx/`, its parity report and its audits to a bundle; the bundle changes whole or not at all.

    The audit is the training stage's, with another detector where one is given. Raises ExportError where an engine does
    not agree with the model, and ConfigError where no model is there.
    """
    bundle = Bundle.open(path)
    if not bundle.weights("model"):
        raise ConfigError(f"{path} has no model/ to export; run `pruneguard train --out {path}` first")
    family, concepts = family_of(path), bundle_concepts(bundle)
    audit, recorded = recorded_audit(bundle)
    detectors = find_detectors(detector or recorded, family, concepts)
    results: list[AuditResult] = []
    with write_bundle(path, base=path) as draft:
        pipeline = load_pipeline(draft.folder / "model")
        shutil.rmtree(draft.folder / "onnx", ignore_errors=True)
        record = write_onnx(
            pipeline,
            draft.folder / "onnx",
            opset=opset,
            prompts=[prompt for concept in concepts for prompt in concept.neighbours][:8] or None,
            on_progress=lambda _, done, total: on_progress(Advance("export", done, total)),
        )
        _write_report(draft, record)
        if detectors:
            components = onnx_components(draft.folder / "onnx", sampler=draft.manifest.sampler)
            results = audit_components("onnx", components, concepts, family, detectors, audit, on_progress)
            record_audits(draft, "onnx", results, audit, audit.target)
    return Bundle.open(path), record, results


def _write_report(draft: BundleDraft, record: ExportRecord) -> None:
    report = draft.folder / REPORT
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(record.parity, indent=2, sort_keys=True))
    stages = tuple(stage for stage in draft.manifest.stages if stage.name != "export")
    draft.manifest = replace(draft.manifest, stages=stages)
    draft.add_stage(
        Stage(
            name="export",
            inputs=_weights(draft),
            outputs=["onnx", REPORT],
            settings={"target": "onnx", "opset": record.opset},
            versions=dict(record.versions),
            metrics={f"{name}_nodes": count for name, count in record.nodes.items()},
        )
    )


def _weights(draft: BundleDraft) -> dict[str, Any]:
    return dict(draft.weights("model"))
