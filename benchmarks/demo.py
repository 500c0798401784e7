"""The demo as a benchmark: writes its numbers, with machine and commit, and its grid to the committed results.

python -m benchmarks.demo
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from benchmarks.machine import describe
from pruneguard.runs.progress import RichProgress
from pruneguard.stages.demo import CONCEPT, forget_runs, run_demo


@click.command()
@click.option("--concepts", default=CONCEPT, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("pruneguard-demo"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(concepts: str, out: Path, results: Path) -> None:
    """Run the demo from the start and keep its numbers and its grid."""
    forget_runs(out)
    out.mkdir(parents=True, exist_ok=True)
    machine = describe()  # before the work: its commit, and the machine's load without it
    with RichProgress() as progress:
        done = run_demo(out, concepts, progress)
    results.mkdir(parents=True, exist_ok=True)
    (results / "demo.json").write_text(json.dumps({**done.numbers, **machine}, indent=2) + "\n")
    shutil.copyfile(done.grid, results / "grid.png")
    click.echo(f"{done.numbers['wall_s']} s; {results / 'demo.json'}")


if __name__ == "__main__":
    main()
