"""Latency of a bundle's model compared with its dense teacher: UNet calls, whole images and the stages of an image.

python -m benchmarks.latency --bundle pruneguard-demo/bundle

Calls that are compared take turns within one run: A B C, C B A, ... A ratio is the median of the round-by-round ratios,
with quartiles. "pruned" has the architecture of the erased model and the weights of the teacher.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from pruneguard.bundle import Bundle
from pruneguard.evaluation.latency import (
    PROMPT,
    Call,
    diffusers_image_call,
    diffusers_scheduler,
    engine_call,
    guided_inputs,
    interleave,
    median_and_quartiles,
    ratio,
    timing,
    unet_call,
)
from pruneguard.export import ParitySettings, export_onnx
from pruneguard.export.components import components_of
from pruneguard.export.graph import write_graph
from pruneguard.measurement import Measurement, Protocol, read_measurements
from pruneguard.measurement import show as show_measurement
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel, load_pipeline
from pruneguard.runtime import Components, GuardedSampler, OnnxEngine, draw, engine_components, onnx_components
from pruneguard.settings import plain

RESULT = Path("benchmarks/results/latency.json")
BRIEF = ParitySettings(steps=2, images=1, timesteps=1, batches=(1,))
Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Subjects:
    """Three models of one family, and the engines of two of them."""

    dense: Pipeline
    pruned: Pipeline
    erased: Pipeline
    dense_engines: Components
    erased_engines: Components

    @classmethod
    def of(cls, bundle: Bundle, teacher: str, folder: Path, threads: int) -> Subjects:
        """The bundle's model, its teacher, and the teacher pruned by the model's plan."""
        dense, erased = load_pipeline(teacher), load_pipeline(bundle.path)
        pruned = PrunedUNet2DConditionModel.from_unet(dense.unet, erased.unet.plan)
        export_onnx(dense, folder / "dense", prompts=[PROMPT], parity=BRIEF)
        return cls(
            dense=dense,
            pruned=replace(dense, unet=pruned),
            erased=erased,
            dense_engines=open_engines(folder / "dense", threads),
            erased_engines=open_engines(bundle, threads),
        )


def open_engines(source: Path | Bundle, threads: int) -> Components:
    """The first engine of a bundle, or that of an export folder."""
    if isinstance(source, Bundle):
        return engine_components(source, next(iter(source.manifest.engines)), threads=threads)
    return onnx_components(source, threads=threads)


class Stopwatch:
    """An engine that records the milliseconds of each call."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.calls: list[float] = []

    def run(self, inputs: dict[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs of the engine."""
        started = time.perf_counter()
        found: dict[str, Any] = self.engine.run(inputs, outputs)
        self.calls.append((time.perf_counter() - started) * 1e3)
        return found

    def describe(self) -> dict[str, Any]:
        """The description of the engine."""
        described: dict[str, Any] = self.engine.describe()
        return described


def unet_calls(subjects: Subjects, folder: Path, threads: int) -> tuple[dict[str, Call], dict[str, Call]]:
    """One guided UNet call (batch 2) of the dense, pruned and erased UNet, in torch and on ONNX Runtime."""
    inputs = guided_inputs(subjects.dense)
    models = {"dense": subjects.dense, "pruned": subjects.pruned, "erased": subjects.erased}
    pruned = next(part for part in components_of(subjects.pruned) if part.name == "unet")
    write_graph(pruned, folder / "pruned" / "model.onnx")
    engines = {
        "dense": subjects.dense_engines.unet,
        "pruned": OnnxEngine.from_folder(folder / "pruned", threads=threads),
        "erased": subjects.erased_engines.unet,
    }
    in_torch = {name: unet_call(pipeline.unet, inputs) for name, pipeline in models.items()}
    return in_torch, {name: engine_call(engine, inputs) for name, engine in engines.items()}


def image_calls(subjects: Subjects, steps: int, guidance_scale: float) -> dict[str, Call]:
    """One image, batch 1: diffusers on the dense and the erased model, the guarded sampler on the engines of both."""
    samplers = {
        "engine_dense": GuardedSampler(subjects.dense_engines, allow_unmeasured=True),
        "engine_erased": GuardedSampler(subjects.erased_engines, allow_unmeasured=True),
    }

    def drawing(sampler: GuardedSampler) -> Call:
        return lambda: sampler(PROMPT, seed=0, steps=steps, guidance_scale=guidance_scale)

    return {
        "diffusers_dense": diffusers_image_call(subjects.dense, steps=steps, guidance_scale=guidance_scale),
        "diffusers_erased": diffusers_image_call(subjects.erased, steps=steps, guidance_scale=guidance_scale),
        **{name: drawing(sampler) for name, sampler in samplers.items()},
    }


def stage_times(components: Components, steps: int, guidance_scale: float, rounds: int) -> dict[str, float]:
    """Medians over `rounds` images of the milliseconds in each stage; `rest_ms` is the time outside the engines."""
    rows: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        watches: dict[str, Any] = {
            name: Stopwatch(getattr(components, name)) for name in ("text_encoder", "unet", "vae_decoder")
        }
        started = time.perf_counter()
        draw(replace(components, **watches), [PROMPT], [0], steps=steps, guidance_scale=guidance_scale)
        total = (time.perf_counter() - started) * 1e3
        row = {f"{name}_ms": sum(watch.calls) for name, watch in watches.items()}
        rows.append(row | {"unet_calls": len(watches["unet"].calls), "rest_ms": total - sum(row.values())})
    warm = rows[1:]
    return {name: round(median_and_quartiles([row[name] for row in warm])[0], 3) for name in rows[0]}


def measurements(samples: Mapping[str, list[float]], group: str, protocol: Protocol) -> list[Measurement]:
    """The time of every call, and the ratio of every later call to every earlier one, named below `group`."""
    times = [timing(f"{group}/{_words(name)}", values, protocol) for name, values in samples.items()]
    ratios = [
        ratio(f"{group}/{_words(later)} to {_words(earlier)}", samples[later], samples[earlier], protocol)
        for earlier, later in combinations(samples, 2)
    ]
    return [*times, *ratios]


def _words(name: str) -> str:
    return name.replace("_", " ")


def measure(
    bundle: Bundle,
    teacher: str,
    *,
    rounds: int,
    images: int,
    threads: int,
    steps: int = 25,
    guidance_scale: float = 7.5,
) -> dict[str, Any]:
    """All measurements of a bundle, JSON-ready. Raises the errors of loading and exporting."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        subjects = Subjects.of(bundle, teacher, Path(name), threads)
        in_torch, on_onnx = unet_calls(subjects, Path(name), threads)
        samples = {
            "unet_torch": interleave(in_torch, runs=rounds),
            "unet_onnxruntime": interleave(on_onnx, runs=rounds),
            "image": interleave(image_calls(subjects, steps, guidance_scale), runs=images, warmup=1),
        }
        stages = {
            subject: stage_times(components, steps, guidance_scale, images)
            for subject, components in (("dense", subjects.dense_engines), ("erased", subjects.erased_engines))
        }
    call = {"batch": 2, "threads": threads}
    drawing = {"steps": steps, "guidance_scale": guidance_scale, "threads": threads}
    protocols = {
        "unet_torch": Protocol(settings=call),
        "unet_onnxruntime": Protocol(settings=call),
        "image": Protocol(settings={**drawing, "diffusers_scheduler": diffusers_scheduler(subjects.dense)}),
    }
    macs = bundle.manifest.macs
    return {
        "settings": {"rounds": rounds, "images": images, "steps": steps, "guidance_scale": guidance_scale},
        "threads": threads,
        "bundle": bundle.digest,
        "unet_macs": {"dense": macs["dense"], "erased": macs["pruned"], "ratio": macs["ratio"]},
        "measurements": plain(
            [entry for name in samples for entry in measurements(samples[name], _words(name), protocols[name])]
        ),
        "stages": stages,
        "samples": {name: _rounded(group) for name, group in samples.items()},
    }


def _rounded(samples: Samples) -> Samples:
    return {name: [round(value, 3) for value in values] for name, values in samples.items()}


def show(results: Mapping[str, Any], console: Console) -> None:
    """The numbers as tables."""
    table = Table("", "median (quartiles)", title=f"{results['threads']} threads, calls in turn")
    table.add_row("UNet MACs, erased to dense", f"{results['unet_macs']['ratio']:.3f}")
    for entry in read_measurements(results["measurements"]):
        table.add_row(entry.name.replace("/", ", "), show_measurement(entry))
    console.print(table)
    stages = Table("stages of an image (ms)", "text", "UNet", "calls", "VAE", "rest")
    for name, row in results["stages"].items():
        cells = [f"{row[key]:.1f}" for key in ("text_encoder_ms", "unet_ms")]
        stages.add_row(
            name, *cells, f"{row['unet_calls']:.0f}", f"{row['vae_decoder_ms']:.1f}", f"{row['rest_ms']:.1f}"
        )
    console.print(stages)


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("pruneguard-demo/bundle"), show_default=True)
@click.option("--teacher", default="atelier", show_default=True, help="The dense model that the bundle was made from.")
@click.option("--rounds", type=click.IntRange(min=2), default=60, show_default=True, help="UNet calls of each model.")
@click.option("--images", type=click.IntRange(min=2), default=12, show_default=True, help="Images of each pipeline.")
@click.option("--threads", type=click.IntRange(min=1), help="For torch and ONNX Runtime.  [default: all cores]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULT, show_default=True)
def main(bundle: Path, teacher: str, rounds: int, images: int, threads: int | None, out: Path) -> None:
    """Measure, write the results and show them."""
    machine = describe()  # before the work, so that the recorded load is not its own
    opened = Bundle.open(bundle)
    opened.verify()
    results = measure(opened, teacher, rounds=rounds, images=images, threads=threads or int(machine["cores"]))
    command = "python -m benchmarks.latency " + shlex.join(sys.argv[1:])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"command": command.strip(), **machine, **results}, indent=2) + "\n")
    show(results, Console())
    click.echo(str(out))


if __name__ == "__main__":
    main()
