"""What each eraser reaches on atelier: one pruned student, the same data, seeds and steps, and one audit for all.

python -m benchmarks.erasers --concepts mosaic,nudity
"""

from __future__ import annotations

import copy
import json
import sys
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
from pruneguard.stages.audit import audit_components, find_detectors
from pruneguard.stages.data import build_data
from pruneguard.stages.prune import prune
from pruneguard.stages.settings import RunSettings
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


@click.command()
@click.option("--concepts", default="mosaic,nudity", show_default=True, help="One run a concept and variant.")
@click.option("--steps", type=click.IntRange(min=50), help="Lower steps; the preset's own when left out.")
@click.option("--variant", "chosen", type=click.Choice(list(VARIANTS)), multiple=True, help="All when left out.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/erasers.json"))
def main(concepts: str, steps: int | None, chosen: tuple[str, ...], out: Path) -> None:
    """Measure every variant on every concept and write the results, a row as soon as it is there."""
    machine, rows = describe(), dict[str, dict[str, Any]]()
    command = ("python -m benchmarks.erasers " + " ".join(sys.argv[1:])).strip()
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in concepts.split(","):
        rows[name] = {}
        with TemporaryDirectory() as folder, RichProgress() as progress:
            training = {"steps": steps} if steps else {}
            for variant, row in measure(name, chosen or tuple(VARIANTS), training, Path(folder), progress):
                rows[name][variant] = row
                out.write_text(json.dumps({"concepts": rows, "command": command, **machine}, indent=2) + "\n")
    for name, variants in rows.items():
        for variant, row in variants.items():
            measured = "  ".join(f"{m.name} {show(m)}" for m in read_measurements(row["measurements"]))
            click.echo(f"{name:10} {variant:42} {measured}")


def measure(
    concept: str, chosen: Sequence[str], training: dict[str, Any], folder: Path, progress: RichProgress
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The audit of the teacher, then of each variant; all students begin as copies of one pruned UNet."""
    settings = RunSettings.resolve("atelier", {"audit": {"batch_size": 32, "other": 160}}, concepts=(concept,))
    concepts = settings.load_concepts()
    family = settings.family
    detectors = find_detectors(settings.detector, family, concepts)
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
