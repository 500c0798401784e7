"""Concepts that one run suppresses together, beside one alone: its time, its rounds, and what its audits say.

python -m benchmarks.together --concepts mosaic --concepts mosaic,nudity,star --concepts mosaic,glow,relief

Each run has the defaults of `pruneguard train` and begins with an empty folder. The results keep the runs of earlier
calls, each with its machine and commit; a run takes the place of an earlier one of the same concepts.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.machine import describe
from pruneguard.runs.progress import RichProgress
from pruneguard.settings import plain
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


@click.command()
@click.option("--concepts", multiple=True, default=("mosaic", "mosaic,nudity,star", "mosaic,glow,relief"))
@click.option("--keep", type=click.Path(path_type=Path), help="A folder for the bundles; by default none is kept.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(concepts: tuple[str, ...], keep: Path | None, out: Path) -> None:
    """Train each set of concepts and write what came of it."""
    runs: dict[str, Any] = json.loads(out.read_text())["runs"] if out.exists() else {}
    with TemporaryDirectory() as scratch:
        for names in concepts:
            runs[names] = measure(names, (keep or Path(scratch)) / names.replace(",", "-") / "bundle")
            out.parent.mkdir(parents=True, exist_ok=True)
            command = " ".join(["python -m benchmarks.together", *(f"--concepts {each}" for each in runs)])
            results = {"runs": runs, "command": command, **describe()}
            out.write_text(json.dumps(results, indent=2) + "\n")
            done = runs[names]
            judged = ", ".join(f"{name} {audit['judgement']}" for name, audit in done["audits"].items())
            click.echo(f"{names}: {done['seconds']} s, {done['rounds']} further rounds; {judged}")


if __name__ == "__main__":
    main()
