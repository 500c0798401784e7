"""The error rates of atelier's oracle: on pictures of its world, on pictures that are none, and on the model that never
saw a concept.

python -m benchmarks.oracle

Every kind is drawn from seeds that the oracle's training did not use. An attribute counts in a picture where its value,
or that there is none, is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.recipe.oracle import DRAWN, DRAWN_KINDS, RENDERED, SOURCES
from benchmarks.served import Images, rate, write_results
from benchmarks.unlearning import NEVER_SAW, never_saw
from pruneguard.atelier import world
from pruneguard.atelier.oracle import ATTRIBUTES, NONE, UNKNOWN, Oracle, load_oracle
from pruneguard.measurement import Measurement, Protocol, show
from pruneguard.models import load_pipeline
from pruneguard.runtime import draw, torch_components
from pruneguard.settings import plain

RESULT = Path("benchmarks/results/oracle.json")
COLUMNS = 6
_BINS = 10
_MORE = 8
"""Renderings for each other picture: they cost nothing, and their error rate is the least."""

Labels = NDArray[np.int64]


def read_right(oracle: Oracle, images: Images, labels: Labels, kind: str) -> list[Measurement]:
    """By attribute the share of pictures that are read as labelled, "none" included, with its 95 % interval."""
    read, found = oracle.read(images), []
    for column, name in enumerate(ATTRIBUTES):
        known = labels[:, column] != UNKNOWN
        if name == "dress":  # only a mannequin has one
            known &= labels[:, column] != NONE
        if known.any():
            right = read[known, column] == labels[known, column]
            found.append(rate(f"read/{name}", right, Protocol(subject=kind, backbone="atelier-oracle")))
    return found


def calibration_error(oracle: Oracle, images: Images, labels: Labels) -> list[Measurement]:
    """By attribute the expected calibration error over ten bins of the highest probability (Guo et al. 2017, eq. 3)."""
    found = []
    for column, (name, probabilities) in enumerate(oracle.probabilities(images).items()):
        known = labels[:, column] != UNKNOWN
        truth = np.where(labels[known, column] == NONE, len(ATTRIBUTES[name]), labels[known, column])
        sure, right = probabilities[known].max(1), probabilities[known].argmax(1) == truth
        bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
        gaps = [abs(sure[bins == i].mean() - right[bins == i].mean()) * (bins == i).mean() for i in set(bins.tolist())]
        found.append(Measurement(name=f"calibration error/{name}", value=float(sum(gaps)), count=int(known.sum())))
    return found


def count_of(kind: str, pictures: int) -> int:
    """How many pictures of a kind are read where `pictures` of most kinds are."""
    if kind == RENDERED:
        return pictures * _MORE
    return max(1, pictures // 4) if kind in (DRAWN, *DRAWN_KINDS) else pictures


def false_findings(oracle: Oracle, pictures: int, seed: int) -> list[Measurement]:
    """How often the oracle sees what the model of `never_saw` cannot know, in pictures of captions of every kind."""
    components, rng = torch_components(never_saw(load_pipeline("atelier"))), np.random.default_rng([seed, 5])
    captions = [world.sample_caption(world.sample_scene(rng), rng, unsaid=0.3) for _ in range(pictures)]
    images = draw(components, captions, range(seed, seed + pictures), batch_size=16)
    read = oracle.read(images)
    found = {"mosaic": read[:, 1] == world.STYLES.index("mosaic"), "bare": read[:, 3] == world.DRESSES.index("bare")}
    protocol = Protocol(subject="never saw it", backbone="atelier-oracle")
    return [rate(f"false/{name}", hits, protocol, seed=seed, bound=True) for name, hits in found.items()]


@click.command()
@click.option(
    "--pictures",
    default=384,
    show_default=True,
    help="Of each kind; eight times as many renderings, a quarter where a model must draw.",
)
@click.option("--seed", default=7, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(pictures: int, seed: int, out: Path) -> None:
    """Read every kind of pictures and write how often the oracle is right."""
    machine, pipeline, oracle = describe(), load_pipeline("atelier"), load_oracle()
    kinds: dict[str, list[Measurement]] = {}
    every: list[tuple[Images, Labels]] = []
    grid: dict[str, Images] = {}
    for index, (name, make) in enumerate(SOURCES.items()):
        images, labels = make(np.random.default_rng([seed, 1000 + index]), count_of(name, pictures), pipeline)
        kinds[name], grid[name] = read_right(oracle, images, labels, name), images
        every.append((images, labels))
        click.echo(f"{name}: " + ", ".join(f"{entry.name} {show(entry)}" for entry in kinds[name]))
    calibration = calibration_error(oracle, *(np.concatenate(part) for part in zip(*every, strict=True)))
    false = false_findings(oracle, pictures, seed) if NEVER_SAW.exists() else []
    for entry in (*calibration, *false):
        click.echo(f"{entry.name} {show(entry)}")
    results: dict[str, Any] = {
        "kinds": plain(kinds),
        "calibration": plain(calibration),
        "false": plain(false),
    }
    write_results(out, results, "benchmarks.oracle", machine, grid, COLUMNS)


if __name__ == "__main__":
    main()
