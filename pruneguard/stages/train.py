"""The training stage: prune, distil and suppress, audit, and write the bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pruneguard import __version__
from pruneguard.bundle import Bundle, Stage, write_bundle
from pruneguard.evaluation.audit import AuditResult
from pruneguard.export import sampler_settings
from pruneguard.models import load_pipeline
from pruneguard.runtime import torch_components
from pruneguard.stages.audit import audit_components, find_detector, to_record
from pruneguard.stages.data import build_data
from pruneguard.stages.prune import load_student, macs_record, prune
from pruneguard.stages.settings import RunSettings
from pruneguard.training import OnProgress, TrainResult, train
from pruneguard.training.digest import fingerprint

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def run_folder(out: Path) -> Path:
    """Where the checkpoints and caches of a bundle's run lie: beside it, under runs/."""
    return out.absolute().parent / "runs" / out.name


def train_bundle(
    settings: RunSettings, out: Path, on_progress: OnProgress
) -> tuple[Bundle, TrainResult, list[AuditResult]]:
    """The whole stage, from a dense model to an erased pruned bundle at `out`; killed, it goes on where it was.

    Nothing is written to `out` before all is done. Raises the errors of its parts, each with its remedy.
    """
    concepts = settings.load_concepts()
    audits: list[AuditResult] = []
    detector = find_detector(settings.detector, settings.family) if concepts else None
    folder = run_folder(out)
    with write_bundle(out) as draft:  # opened first: a folder that cannot be written is no surprise after an hour
        teacher = load_pipeline(settings.model)
        source = fingerprint(teacher.unet)
        data = build_data(teacher, settings, folder / "data", on_progress)
        student = (
            load_student(settings.student, teacher)
            if settings.student
            else prune(teacher, data, settings.prune, seed=settings.training.seed, on_progress=on_progress)
        )
        macs = macs_record(teacher, student)
        result = train(teacher, student, data, concepts, settings.training, folder, on_progress=on_progress)
        pipeline = replace(teacher, unet=result.unet)
        pipeline.save(draft.folder / "model")
        draft.update(
            sampler=sampler_settings(pipeline),
            concepts={concept.name: _plain(asdict(concept)) for concept in concepts},
            policy={"concepts": [concept.name for concept in concepts], "limit": settings.audit.limit},
            macs=macs,
        )
        draft.add_stage(_prune_stage(settings, source, macs))
        draft.add_stage(_train_stage(settings, source, data.digest, result.metrics))
        if detector:
            components = torch_components(pipeline)
            digests = draft.weights("model")
            audits = audit_components(
                "model", components, concepts, settings.family, detector, settings.audit, on_progress
            )
            for audited in audits:
                draft.add_audit(to_record(audited, "model", settings.audit.limit, digests))
    return Bundle.open(out), result, audits


def prune_bundle(settings: RunSettings, out: Path, on_progress: OnProgress) -> Bundle:
    """Prune only: a bundle with the pruned model, which still needs training to draw well."""
    with write_bundle(out) as draft:
        teacher = load_pipeline(settings.model)
        source = fingerprint(teacher.unet)
        needs_data = settings.prune.criterion != "magnitude"
        data = build_data(teacher, settings, run_folder(out) / "data", on_progress) if needs_data else None
        student = prune(teacher, data, settings.prune, seed=settings.training.seed, on_progress=on_progress)
        macs = macs_record(teacher, student)
        pipeline = replace(teacher, unet=student)
        pipeline.save(draft.folder / "model")
        draft.update(sampler=sampler_settings(pipeline), macs=macs)
        draft.add_stage(_prune_stage(settings, source, macs))
    return Bundle.open(out)


def versions() -> dict[str, Any]:
    """Versions of what computed a stage."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"pruneguard": __version__, "python": platform.python_version(), **found}


def _prune_stage(settings: RunSettings, source: str, macs: dict[str, Any]) -> Stage:
    given = {"family": settings.family, "model": settings.model, "student": settings.student}
    return Stage(
        name="prune",
        inputs={"unet_fingerprint": source},
        outputs=["model/unet"],
        settings={**given, **asdict(settings.prune)},
        seeds={"seed": settings.training.seed},
        versions=versions(),
        metrics=macs,
    )


def _train_stage(settings: RunSettings, source: str, data: str, metrics: dict[str, float]) -> Stage:
    # Wall times differ from run to run; without them equal runs write equal bundles.
    measured = {name: value for name, value in metrics.items() if not name.startswith("seconds")}
    return Stage(
        name="train",
        inputs={"unet_fingerprint": source, "data_digest": data},
        outputs=["model"],
        settings=_plain(
            {
                **settings.training.to_dict(),
                "data": asdict(settings.data),
                "audit": asdict(settings.audit),
                "detector": settings.detector,
            }
        ),
        seeds={"seed": settings.training.seed},
        versions=versions(),
        metrics=measured,
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, so that what is written equals what is read."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
