"""Import time, time from the start of a process to its first image, and peak resident memory of the runtime.

All numbers come from fresh processes: python -m benchmarks.cold_start --bundle pruneguard-demo/bundle
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.machine import describe

RESULT = Path("benchmarks/results/cold_start.json")

IMPORT = """
import time
began = time.perf_counter()
import pruneguard.runtime
print(time.perf_counter() - began)
"""
FIRST_IMAGE = """
import json, resource, sys, time
from pruneguard.runtime import GuardedSampler
sampler = GuardedSampler.from_bundle(sys.argv[1], threads=int(sys.argv[2]) or None)
loaded = time.monotonic()
image = sampler("a red star in flat style", seed=0).images[0]
done = time.monotonic()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"loaded": loaded, "done": done, "peak_mib": peak, "size": image.size}))
"""


def measure_import() -> float:
    """Seconds of `import pruneguard.runtime` in a fresh process, without the start of the interpreter."""
    return float(_run(IMPORT))


def measure_first_image(bundle: Path, threads: int) -> dict[str, float]:
    """Seconds from the start of a fresh process to the loaded bundle and to its first image, and peak memory."""
    # The monotonic clock counts from the start of the machine, so both processes read the same clock.
    began = time.monotonic()
    seen = json.loads(_run(FIRST_IMAGE, str(bundle), str(threads)))
    return {
        "loaded_s": seen["loaded"] - began,
        "first_image_s": seen["done"] - began,
        "peak_resident_mib": seen["peak_mib"],
    }


def summary(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest value."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(bundle: Path, runs: int, threads: int) -> dict[str, Any]:
    """Both measurements `runs` times, alternating, after one uncounted run that warms the file cache."""
    measure_first_image(bundle, threads)
    imports, images = [], []
    for _ in range(runs):
        imports.append(measure_import())
        images.append(measure_first_image(bundle, threads))
    names = images[0].keys()
    return {"import_s": summary(imports), **{name: summary([image[name] for image in images]) for name in names}}


def _run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException((done.stderr.strip().splitlines() or ["the measured process failed"])[-1])
    return done.stdout


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("pruneguard-demo/bundle"), show_default=True)
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=0), default=0, show_default=True, help="0: the engine's choice")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULT, show_default=True)
def main(bundle: Path, runs: int, threads: int, out: Path) -> None:
    """Measure, write the results and show them."""
    machine = describe()  # before the work, so that the recorded load is not its own
    results = measure(bundle, runs, threads)
    command = "python -m benchmarks.cold_start " + shlex.join(sys.argv[1:])
    found = {"command": command.strip(), **machine, "runs": runs, "threads": threads, "summary": results}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    for name, values in results.items():
        click.echo(f"{name:20} {values['median']:.3f}  ({values['min']:.3f} to {values['max']:.3f})")
    click.echo(str(out))


if __name__ == "__main__":
    main()
