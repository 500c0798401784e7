"""The demo: all stages on the embedded model, a measurement of each, and a report."""

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
    diffusers_scheduler,
    guided_inputs,
    interleave,
    ratio,
    timing,
    unet_call,
)
from pruneguard.evaluation.report import write_report
from pruneguard.measurement import Protocol
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runs.lock import run_alone
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import draw, engine_components, torch_components
from pruneguard.settings import plain
from pruneguard.stages.auditing.calibration import calibrated
from pruneguard.stages.auditing.drawing import audit_components, find_detectors
from pruneguard.stages.data import build_data
from pruneguard.stages.export import ExportResult, export_bundle
from pruneguard.stages.models import load_teacher
from pruneguard.stages.prune import prune_in
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import run_folder, train_bundle
from pruneguard.staging import file_aside
from pruneguard.training import train

CONCEPT = "mosaic"
RUNS = ("bundle", "distilled")
COLUMNS, MARKED = 8, 3  # pictures of each subject in the grid, and how many of them call for the concept
STEPS, GUIDANCE_SCALE = 25, 7.5  # of the images that are timed


@dataclass(frozen=True)
class DemoResult:
    """The paths of the demo's files, and the content of demo.json."""

    report: Path
    grid: Path
    numbers: dict[str, Any]


def run_demo(
    out: Path, concept: str, on_progress: OnProgress, *, steps: int | None = None, pictures: int | None = None
) -> DemoResult:
    """Teacher audit, prune, distil with and without suppression, audit, ONNX, audit of the engine, latency, report.

    `steps` shortens the training runs and `pictures` the audits; both leave out further rounds. Raises ConfigError for
    more than one concept, and the errors of the stages.
    """
    started = time.perf_counter()
    resumed = any(run_folder(out / name).exists() for name in RUNS)
    settings = _settings(concept, steps, pictures)
    (chosen,) = settings.load_concepts()
    out.mkdir(parents=True, exist_ok=True)
    bundle_path = out / "bundle"
    if (bundle_path / MANIFEST).exists():
        Bundle.open(bundle_path)  # an unreadable bundle is not replaced; this raises its error before the training
    teacher = load_teacher(settings.model)
    audits = {"teacher": _audit("teacher", teacher, chosen, settings, on_progress)}

    run = run_folder(bundle_path)
    data = build_data(teacher, settings, run / "data", on_progress)
    seed = settings.training.seed
    student = prune_in(run, teacher, data, settings.prune, seed=seed, on_progress=on_progress)
    untracked = replace(settings.training, tracker="none")
    baseline = run_folder(out / "distilled")
    with run_alone(baseline):
        distilled = train(teacher, student, data, (), untracked, baseline, on_progress=_renamed(on_progress, "distil"))
    audits["distilled"] = _audit("distilled", replace(teacher, unet=distilled.unet), chosen, settings, on_progress)

    controls = {chosen.name: audits["teacher"].measurements}
    bundle, _, (judged,) = train_bundle(
        settings, bundle_path, _renamed(on_progress, "distil and suppress"), controls=controls
    )
    audits["erased"] = judged.result
    exported = export_bundle(bundle_path, on_progress=on_progress)
    bundle, (judged,) = exported.bundle, exported.audits
    audits["engine"] = judged.result

    erased = load_pipeline(bundle_path)
    latency = measure_latency(teacher, distilled.unet, erased.unet, exported, on_progress)
    macs = bundle.manifest.macs
    numbers = {
        "concept": chosen.name,
        "unet_macs": {"dense": macs["dense"], "erased": macs["pruned"], "ratio": macs["ratio"]},
        "resumed": resumed,  # if so, wall_s is the time of the last part only
        "limit": settings.audit.limit,
        "passed": all(audit.passed for audit in bundle.manifest.audits),
        "audits": {name: plain(result.measurements) for name, result in audits.items()},
        "latency": latency,
        "parity": plain(exported.engine.parity),
        "settings": settings.to_dict(),
    }
    result = _write(out, chosen, settings, audits, numbers, started)
    forget_runs(out)  # a stopped demo resumes from its runs; a finished one needs them no more
    return result


def forget_runs(out: Path) -> None:
    """Removes the checkpoints and caches of the demo's own runs."""
    for folder in (run_folder(out / name) for name in RUNS):
        if folder.exists():
            with run_alone(folder):
                shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it is not empty if other runs have folders there
        run_folder(out / RUNS[0]).parent.rmdir()


def _settings(concept: str, steps: int | None, pictures: int | None) -> RunSettings:
    names = tuple(part.strip() for part in concept.split(",") if part.strip())
    if len(names) != 1:
        raise ConfigError("the demo suppresses one concept; `pruneguard train` takes several")
    tables: dict[str, Any] = {"audit": {"batch_size": 32}}
    if steps:
        tables |= {"training": {"steps": steps}, "proof": {"rounds": 0}}
    if pictures:
        tables["audit"] |= {"target": pictures, "implicit": pictures, "other": pictures}
        tables["proof"] = {"rounds": 0}
    return RunSettings.resolve("atelier", tables, concepts=names)


def _renamed(on_progress: OnProgress, name: str) -> OnProgress:
    def show(advance: Advance) -> None:
        on_progress(replace(advance, phase=name) if advance.phase == "train" else advance)

    return show


def _audit(
    name: str, pipeline: Pipeline, concept: Concept, settings: RunSettings, on_progress: OnProgress
) -> AuditResult:
    family = settings.family
    detectors = calibrated(find_detectors(settings.detector, family, [concept]), {})
    components = torch_components(pipeline)
    return audit_components(name, components, [concept], family, detectors, settings.audit, on_progress)[0]


def measure_latency(
    teacher: Pipeline, pruned: Any, erased: Any, exported: ExportResult, on_progress: OnProgress, *, rounds: int = 40
) -> dict[str, Any]:
    """One guided UNet call of dense, pruned and erased, and one image by diffusers and by the engine, taking turns.

    The measurements are plain values: milliseconds, and medians of round-by-round ratios.
    """
    teacher.to("cpu")  # training may have moved it to an accelerator; all are timed on one device
    on_progress(Advance("latency", 0, 2))
    inputs, subjects = guided_inputs(teacher), {"dense": teacher.unet, "pruned": pruned, "erased": erased}
    unets = interleave({name: unet_call(unet, inputs) for name, unet in subjects.items()}, runs=rounds)
    on_progress(Advance("latency", 1, 2))
    engine = engine_components(exported.bundle, exported.name)

    def by_engine() -> object:
        return draw(engine, [PROMPT], [0], steps=STEPS, guidance_scale=GUIDANCE_SCALE)

    by_diffusers = diffusers_image_call(teacher, steps=STEPS, guidance_scale=GUIDANCE_SCALE)
    images = interleave({"diffusers": by_diffusers, "engine": by_engine}, runs=5, warmup=1)
    on_progress(Advance("latency", 2, 2))
    threads = torch.get_num_threads()
    call = Protocol(settings={"batch": 2, "threads": threads})
    image = {"steps": STEPS, "guidance_scale": GUIDANCE_SCALE, "threads": threads}
    baseline = Protocol(subject="teacher", settings={**image, "scheduler": diffusers_scheduler(teacher)})
    measurements = [
        *(timing(f"unet/{name}", samples, call) for name, samples in unets.items()),
        timing("image/diffusers", images["diffusers"], baseline),
        timing("image/engine", images["engine"], Protocol(subject="engine", settings=image)),
        ratio("unet/erased to pruned", unets["erased"], unets["pruned"], call),
        ratio("unet/erased to dense", unets["erased"], unets["dense"], call),
        ratio("image/engine to diffusers", images["engine"], images["diffusers"], baseline),
    ]
    return {
        "measurements": plain(measurements),
        "threads": threads,
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
    prompts = settings.family.audit_prompts(concept, settings.audit)
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
