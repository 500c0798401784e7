"""What a bundle serves beside other models of atelier: all on ONNX Runtime, and what was read of their pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.latency import BRIEF
from pruneguard.bundle import Bundle
from pruneguard.concepts import Concept
from pruneguard.evaluation.bounds import BOUND, upper_bound, wilson
from pruneguard.evaluation.grid import draw_grid
from pruneguard.export import export_onnx
from pruneguard.measurement import Measurement, Protocol
from pruneguard.models import Pipeline
from pruneguard.runtime import Components, choose_engine, engine_components, onnx_components
from pruneguard.settings import plain
from pruneguard.sources import public_name
from pruneguard.stages.audit import bundle_concepts

Images = NDArray[np.uint8]
Subjects = Mapping[str, Components]
Measure = Callable[[Subjects, Concept], tuple[Mapping[str, Any], Mapping[str, Images]]]
"""From subjects and a concept to what was measured, by a readable name, and rows of pictures to show."""
SERVED = "served"
INTERVAL = "95 % interval"


def rate(
    name: str, hits: NDArray[np.bool_], protocol: Protocol, *, seed: int | None = None, bound: bool = False
) -> Measurement:
    """The share of True with its two-sided 95 % interval, or with the one-sided 95 % bound.

    `seed` is that of the first picture if the others follow it.
    """
    shown, count = int(hits.sum()), len(hits)
    low, high = (None, upper_bound(shown, count)) if bound else wilson(shown, count)
    return Measurement(
        name=name,
        value=shown / count,
        unit="share",
        low=low,
        high=high,
        interval=BOUND if bound else INTERVAL,
        count=count,
        seeds=None if seed is None else (seed, seed + count - 1),
        protocol=protocol,
    )


def exported(pipeline: Pipeline, folder: Path) -> Components:
    """The pipeline on ONNX Runtime, exported to a folder."""
    export_onnx(pipeline, folder, prompts=["a red disc in flat style"], parity=BRIEF)
    return onnx_components(folder)


def measure_beside(
    bundle: Path, others: Mapping[str, Pipeline], measure: Measure, only: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Images]]:
    """What `measure` gives for each concept of a bundle, by the concept's name, and all rows of pictures.

    `only` names the concepts to measure, by default all; UsageError is raised if the bundle suppresses none of them.
    The subjects are `others`, exported, and then the engine that the runtime chooses, as `SERVED`.
    """
    opened = Bundle.open(bundle)
    opened.verify()
    chosen = [concept for concept in bundle_concepts(opened) if not only or concept.name in only]
    if not chosen:
        raise click.UsageError(f"{bundle} suppresses none of {', '.join(only)}")
    concepts: dict[str, Any] = {}
    shown: dict[str, Images] = {}
    with TemporaryDirectory() as folder:
        subjects = {
            name: exported(pipeline, Path(folder) / str(i)) for i, (name, pipeline) in enumerate(others.items())
        }
        subjects[SERVED] = engine_components(opened, choose_engine(opened))
        for concept in chosen:
            measured, rows = measure(subjects, concept)
            concepts[concept.name] = plain(measured)
            shown |= rows
    return concepts, shown


def write_results(
    out: Path,
    results: Mapping[str, Any],
    module: str,
    machine: Mapping[str, Any],
    shown: Mapping[str, Images],
    columns: int,
) -> None:
    """Writes a results file, and beside it, as a PNG of the same name, rows of at most `columns` pictures."""
    command = " ".join([f"python -m {module}", *map(public_name, sys.argv[1:])])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**results, "command": command, **machine}, indent=2) + "\n")
    draw_grid({name: list(images[:columns]) for name, images in shown.items()}, [""] * columns, out.with_suffix(".png"))
