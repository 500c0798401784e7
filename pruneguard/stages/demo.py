"""The demo: all stages on the embedded model, each measured, and a report of it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pruneguard.bundle import MANIFEST, Bundle
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditResult
from pruneguard.evaluation.grid import draw_grid
from pruneguard.evaluation.latency import (
    PROMPT,
    diffusers_image_call,
    guided_inputs,
    interleave,
    median_ratio,
    summarise,
    unet_call,
)
from pruneguard.evaluation.report import write_report
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runs.lock import run_alone
from pruneguard.runtime import draw, onnx_components, torch_components
from pruneguard.stages.audit import audit_components, find_detector, prompts_for
from pruneguard.stages.data import build_data
from pruneguard.stages.export import export_bundle
from pruneguard.stages.models import load_teacher
from pruneguard.stages.prune import prune_in
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import run_folder, train_bundle
from pruneguard.staging import file_aside
from pruneguard.training import Advance, OnProgress, train

CONCEPT = "mosaic"
RUNS = ("bundle", "distilled")
COLUMNS, MARKED = 8, 3  # pictures shown of each subject, of which the concept's


@dataclass(frozen=True)
class DemoResult:
    """Where the demo's files lie, and its numbers as written to demo.json."""

    report: Path
    grid: Path
    numbers: dict[str, Any]


def run_demo(
    out: Path, concept: str, on_progress: OnProgress, *, steps: int | None = None, pictures: int | None = None
) -> DemoResult:
    """Teacher audit, prune, distil with and without suppression, audit, ONNX, audit of the engine, latency, report.

    `steps` shortens the training runs, `pictures` the audits. Raises ConfigError for more than one concept, and the
    errors of the stages.
    """
    started = time.perf_counter()
    resumed = any(run_folder(out / name).exists() for name in RUNS)
    settings = _settings(concept, steps, pictures)
    (chosen,) = settings.load_concepts()
    out.mkdir(parents=True, exist_ok=True)
    bundle_path = out / "bundle"
    if (bundle_path / MANIFEST).exists():
        Bundle.open(bundle_path)  # one that cannot be read is not replaced; better said now than after the training
    teacher = load_teacher(settings.model)
    audits = {"teacher": _audit("teacher", teacher, chosen, settings, on_progress)}

    run = run_folder(bundle_path)
    data = build_data(teacher, settings, run / "data", on_progress)
    seed = settings.training.seed
    student = prune_in(run, teacher, data, settings.prune, seed=seed, on_progress=on_progress)
    plain = replace(settings.training, tracker="none")
    baseline = run_folder(out / "distilled")
    with run_alone(baseline):
        distilled = train(teacher, student, data, (), plain, baseline, on_progress=_renamed(on_progress, "distil"))
    audits["distilled"] = _audit("distilled", replace(teacher, unet=distilled.unet), chosen, settings, on_progress)

    bundle, _, (audits["erased"],) = train_bundle(settings, bundle_path, _renamed(on_progress, "distil and suppress"))
    bundle, _, (audits["engine"],) = export_bundle(bundle_path, on_progress=on_progress)

    erased = load_pipeline(bundle_path)
    latency = measure_latency(teacher, distilled.unet, erased.unet, bundle, on_progress)
    macs = bundle.manifest.macs
    numbers = {
        "concept": chosen.name,
        "unet_macs": {"dense": macs["dense"], "erased": macs["pruned"], "ratio": macs["ratio"]},
        "resumed": resumed,  # wall_s is then of the last part only
        "limit": settings.audit.limit,
        "passed": all(audit.passed for audit in bundle.manifest.audits),
        **{name: result.to_dict() for name, result in audits.items()},
        "latency": latency,
        "parity": json.loads((bundle_path / "reports/parity.json").read_text()),
        "settings": settings.to_dict(),
    }
    result = _write(out, chosen, settings, audits, numbers, started)
    forget_runs(out)  # a demo that was stopped goes on; one that is done starts afresh
    return result


def forget_runs(out: Path) -> None:
    """Removes the demo's own checkpoints and caches, and no other run's."""
    for folder in (run_folder(out / name) for name in RUNS):
        if folder.exists():
            with run_alone(folder):
                shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not empty: other runs lie there too
        run_folder(out / RUNS[0]).parent.rmdir()


def _settings(concept: str, steps: int | None, pictures: int | None) -> RunSettings:
    names = tuple(part.strip() for part in concept.split(",") if part.strip())
    if len(names) != 1:
        raise ConfigError("the demo suppresses one concept; `pruneguard train` takes several")
    tables: dict[str, Any] = {"audit": {"batch_size": 32, "other": 160}}
    if steps:
        tables["training"] = {"steps": steps}
    if pictures:
        tables["audit"] |= {"target": pictures, "other": pictures}
    return RunSettings.resolve("atelier", tables, concepts=names)


def _renamed(on_progress: OnProgress, name: str) -> OnProgress:
    def show(advance: Advance) -> None:
        on_progress(replace(advance, phase=name) if advance.phase == "train" else advance)

    return show


def _audit(
    name: str, pipeline: Pipeline, concept: Concept, settings: RunSettings, on_progress: OnProgress
) -> AuditResult:
    detector = find_detector(settings.detector, settings.family)
    assert detector is not None  # atelier always has its oracle
    components = torch_components(pipeline)
    return audit_components(name, components, [concept], settings.family, detector, settings.audit, on_progress)[0]


def measure_latency(
    teacher: Pipeline, pruned: Any, erased: Any, bundle: Bundle, on_progress: OnProgress, *, rounds: int = 40
) -> dict[str, Any]:
    """One guided UNet call of dense, pruned and erased, and one image by diffusers and by the engine, interleaved.

    Medians in milliseconds; the ratios are medians of round-by-round ratios.
    """
    teacher.to("cpu")  # training may have moved it to an accelerator; all are timed on one device
    on_progress(Advance("latency", 0, 2))
    inputs, subjects = guided_inputs(teacher), {"dense": teacher.unet, "pruned": pruned, "erased": erased}
    unets = interleave({name: unet_call(unet, inputs) for name, unet in subjects.items()}, runs=rounds)
    on_progress(Advance("latency", 1, 2))
    engine = onnx_components(bundle)  # no guard: an engine that failed its audit still has a speed
    images = interleave(
        {"diffusers": diffusers_image_call(teacher), "engine": lambda: draw(engine, [PROMPT], [0])}, runs=5, warmup=1
    )
    on_progress(Advance("latency", 2, 2))
    return {
        "dense_ms": summarise(unets["dense"]).median_ms,
        "pruned_ms": summarise(unets["pruned"]).median_ms,
        "erased_ms": summarise(unets["erased"]).median_ms,
        "diffusers_image_ms": summarise(images["diffusers"]).median_ms,
        "engine_image_ms": summarise(images["engine"]).median_ms,
        "erased_to_pruned": median_ratio(unets["erased"], unets["pruned"]),
        "erased_to_dense": median_ratio(unets["erased"], unets["dense"]),
        "engine_to_diffusers": median_ratio(images["engine"], images["diffusers"]),
        "threads": torch.get_num_threads(),
        "samples": {name: [round(value, 3) for value in values] for name, values in {**unets, **images}.items()},
    }


def _write(
    out: Path,
    concept: Concept,
    settings: RunSettings,
    audits: dict[str, AuditResult],
    numbers: dict[str, Any],
    started: float,
) -> DemoResult:
    prompts = prompts_for(concept, settings.family, settings.audit)
    rows = {
        name: [*result.target_images[:MARKED], *result.other_images[: COLUMNS - MARKED]]
        for name, result in audits.items()
    }
    captions = [*prompts.target[:MARKED], *prompts.other[: COLUMNS - MARKED]]
    grid, report = out / "grid.png", out / "report.html"
    with file_aside(grid) as aside:
        draw_grid(rows, captions, aside, marked=MARKED)
    numbers = {"wall_s": round(time.perf_counter() - started, 1), **numbers}
    write_report(report, numbers, grid)
    with file_aside(out / "demo.json") as aside:
        aside.write_text(json.dumps(numbers, indent=2))
    return DemoResult(report, grid, numbers)
