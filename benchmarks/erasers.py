"""What each eraser reaches on atelier: one pruned student, the same data, seeds and steps, and one audit for all.

python -m benchmarks.erasers --concepts mosaic,nudity
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.machine import describe
from pruneguard.measurement import read_measurements, show
from pruneguard.models import load_pipeline
from pruneguard.runtime import torch_components
from pruneguard.stages.auditing.calibration import calibrated
from pruneguard.stages.auditing.drawing import audit_components, find_detectors
from pruneguard.stages.data import build_data
from pruneguard.stages.prune import prune
from pruneguard.stages.settings import RunSettings
from pruneguard.staging import file_aside
from pruneguard.training import RichProgress, train

VARIANTS: dict[str, dict[str, Any] | None] = {
    "nothing suppressed": None,
    "anchor, all weights (atelier's)": {},
    "ESD, all weights": {"erasure": {"eraser": "esd"}},
    "ESD, all weights, a quarter of the rate": {"erasure": {"eraser": "esd"}, "upper": {"lr": 1e-4}},
    "ESD, x (the paper's set for styles)": {"erasure": {"eraser": "esd", "parameters": "x"}},
    "ESD, all weights, concept latents only": {"erasure": {"eraser": "esd", "source": {"kind": "noised"}}},
    "SalUn over anchor, half of all weights": {"erasure": {"eraser": {"name": "salun", "of": "anchor"}}},
    "UCE, one edit": {"schedule": {"name": "two-stage", "upper_steps": 1}, "erasure": {"eraser": "uce"}},
    "UCE, three edits": {"schedule": {"name": "alternating", "every": 50}, "erasure": {"eraser": "uce"}},
    "two-stage": {"schedule": {"name": "two-stage", "upper_steps": 75}},
    "erase-first": {"schedule": {"name": "erase-first", "upper_steps": 75}},
    "penalty, lambda 1": {"schedule": {"name": "penalty", "weight": 1.0}},
    "penalty, lambda 100 (the paper's)": {"schedule": {"name": "penalty", "weight": 100.0}},
}
"""What each changes in the preset's training settings; None trains without the concept.

UCE edits keys and values only, whatever set the preset names. The other schedules have the preset's eraser. Both staged
ones take as many upper steps as EVERY gives in the preset's 150 steps.
"""
EVERY = 2  # more upper steps than the preset has, because ESD needs them
COMMAND = "python -m benchmarks.erasers"


@click.command()
@click.option("--concepts", default="mosaic,nudity", show_default=True, help="One run a concept and variant.")
@click.option("--steps", type=click.IntRange(min=50), help="Lower steps; the preset's own when left out.")
@click.option("--variant", "chosen", type=click.Choice(list(VARIANTS)), multiple=True, help="All when left out.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/erasers.json"))
def main(concepts: str, steps: int | None, chosen: tuple[str, ...], out: Path) -> None:
    """Measure every variant on every concept, and write each row as soon as it is there.

    Rows that the same commit measured with the same steps before are kept, so a run that was stopped goes on.
    """
    machine, training = {**describe(), "steps": steps}, {"steps": steps} if steps else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in concepts.split(","):
        there = read_rows(out, machine).get(name, {})
        missing = [variant for variant in chosen or VARIANTS if variant not in there]
        with TemporaryDirectory() as folder, RichProgress() as progress:
            for variant, row in measure(name, missing, training, Path(folder), progress):
                rows = read_rows(out, machine)
                measured = {**rows.get(name, {}), variant: row}
                rows[name] = {known: measured[known] for known in ("teacher", *VARIANTS) if known in measured}
                with file_aside(out) as aside:
                    aside.write_text(json.dumps({"concepts": rows, "command": COMMAND, **machine}, indent=2) + "\n")
    for name, variants in read_rows(out, machine).items():
        for variant, row in variants.items():
            shown = "  ".join(f"{m.name} {show(m)}" for m in read_measurements(row["measurements"]))
            click.echo(f"{name:10} {variant:42} {shown}")


def read_rows(path: Path, machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows in the file if they are of the same commit and number of steps; none otherwise."""
    before = json.loads(path.read_text()) if path.exists() else {}
    same = all(before.get(name) == machine[name] for name in ("commit", "steps"))
    rows: dict[str, dict[str, Any]] = before["concepts"] if same else {}
    return rows


def measure(
    concept: str, chosen: Sequence[str], training: dict[str, Any], folder: Path, progress: RichProgress
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The audit of the teacher, then of each variant; all students begin as copies of one pruned UNet."""
    settings = RunSettings.resolve("atelier", {"audit": {"batch_size": 32, "other": 160}}, concepts=(concept,))
    concepts = settings.load_concepts()
    family = settings.family
    detectors = calibrated(find_detectors(settings.detector, family, concepts), {})
    teacher = load_pipeline("atelier")
    data = build_data(teacher, settings, folder / "data", progress)
    pruned = prune(teacher, data, settings.prune, seed=settings.training.seed, on_progress=progress)

    def audit(name: str, unet: Any) -> dict[str, Any]:
        components = torch_components(replace(teacher, unet=unet))
        audits = audit_components(name, components, concepts, family, detectors, settings.audit, progress)
        return audits[0].to_dict()

    yield "teacher", audit("teacher", teacher.unet)
    for number, name in enumerate(chosen):
        changes = VARIANTS[name]
        tables = {"training": {"tracker": "none", "schedule": {"every": EVERY}, **training, **(changes or {})}}
        run = RunSettings.resolve("atelier", tables).training
        suppressed = () if changes is None else concepts
        done = train(teacher, copy.deepcopy(pruned), data, suppressed, run, folder / str(number), on_progress=progress)
        yield name, {**audit(name, done.unet), "seconds": round(done.metrics["seconds"], 1)}


if __name__ == "__main__":
    main()
