"""Concepts that one run suppresses together, beside one alone: its time, its rounds, and what its audits say.

python -m benchmarks.together --concepts mosaic --concepts mosaic,nudity,star --concepts mosaic,glow,relief
python -m benchmarks.together --distilled BUNDLE

Each run has the defaults of `pruneguard train` and begins with an empty folder. The results keep the runs of earlier
calls, each with its machine and commit; a run takes the place of an earlier one of the same concepts.

The second form trains nothing. It measures what a model that was pruned and distilled alike, with nothing suppressed,
keeps of the pictures that do not call for the concepts of each run; `pruneguard train` without concepts makes it.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.machine import describe
from pruneguard.bundle import KEPT
from pruneguard.evaluation.drawing import SharedPictures
from pruneguard.evaluation.space import SpaceSettings
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import RichProgress
from pruneguard.runtime import torch_components
from pruneguard.settings import plain
from pruneguard.stages.auditing.calibration import calibrated
from pruneguard.stages.auditing.drawing import audit_concept, find_detectors, find_metrics
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle

RESULT = Path("benchmarks/results/together.json")


def measure(concepts: str, bundle: Path) -> dict[str, Any]:
    """One run of these concepts, named with commas between them, into `bundle`."""
    machine = describe()
    settings = RunSettings.resolve("atelier", {}, concepts=tuple(concepts.split(",")))
    begun = time.perf_counter()
    with RichProgress() as progress:
        made, proved, _ = train_bundle(settings, bundle, progress, fresh=True)
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "steps": proved.steps,
        "upper_steps": proved.upper_steps,
        "rounds": proved.rounds,
        "edits": proved.edits,
        "missing": list(proved.missing),
        "audits": {
            audit.concept: {
                "judgement": " ".join(audit.judgement()).strip(),
                "erased": plain(list(audit.measurements)),
                "teacher": plain(list(audit.control)),
            }
            for audit in made.manifest.audits
        },
        **machine,
    }


def kept_by(bundle: Path, concepts: str) -> dict[str, Any]:
    """What a model keeps of the pictures that do not call for each concept, with the prompts and seeds of its audit."""
    settings = RunSettings.resolve("atelier", {}, concepts=tuple(concepts.split(",")))
    family, components, shared = settings.family, torch_components(load_pipeline(bundle)), SharedPictures()
    loaded = settings.load_concepts()
    detectors = calibrated(find_detectors(settings.detector, family, loaded), {})
    kept = {}
    for concept in loaded:
        prompts = family.audit_prompts(concept, settings.audit)
        one_each = replace(prompts, target=prompts.target[:1], implicit=())  # only the other pictures are of interest
        with RichProgress() as progress:
            found = audit_concept(
                "audit distilled",
                components,
                concept,
                one_each,
                detectors[concept.name],
                replace(settings.audit, target=1, implicit=1, space=SpaceSettings()),
                progress,
                subject="distilled",
                metrics=find_metrics(family, settings.audit),
                shared=shared,
            )
        kept[concept.name] = plain([entry for entry in found.measurements if entry.name.startswith(f"{KEPT}/")])
    return kept


@click.command()
@click.option("--concepts", multiple=True, default=("mosaic", "mosaic,nudity,star", "mosaic,glow,relief"))
@click.option("--distilled", type=click.Path(path_type=Path), help="A bundle with nothing suppressed; trains nothing.")
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the bundles; by default none is kept.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(concepts: tuple[str, ...], distilled: Path | None, keep: Path | None, out: Path) -> None:
    """Train each set of concepts and write what came of it."""
    runs: dict[str, Any] = json.loads(out.read_text())["runs"] if out.exists() else {}
    if distilled is not None:
        for names, run in runs.items():
            for name, kept in kept_by(distilled, names).items():
                run["audits"][name]["distilled"] = kept
            run["distilled"] = describe()
            _write(out, runs)
        return
    with TemporaryDirectory() as scratch:
        for names in concepts:
            runs[names] = measure(names, (keep or Path(scratch)) / names.replace(",", "-") / "bundle")
            _write(out, runs)
            done = runs[names]
            judged = ", ".join(f"{name} {audit['judgement']}" for name, audit in done["audits"].items())
            click.echo(f"{names}: {done['seconds']} s, {done['rounds']} further rounds; {judged}")


def _write(out: Path, runs: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m benchmarks.together", *(f"--concepts {each}" for each in runs)])
    out.write_text(json.dumps({"runs": runs, "command": command, **describe()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
