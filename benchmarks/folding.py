"""How much error the removal of norm groups adds to atelier's UNet, with and without folding their mean.

python -m benchmarks.folding

For several seeds, a random half of the norm groups of each ResNet is removed in one of three ways. "removed" puts
nothing in their place. "folded" adds their mean E[SiLU(gamma z + beta)] to the next convolution's bias, as `apply_plan`
does by default. "constant" adds SiLU(beta), the value that a gate before the norm leaves behind. The error is the
squared difference from the dense output divided by the squared dense output: of one ResNet on the dense UNet's inputs,
of all ResNets together on these inputs, and of the whole UNet.
"""

from __future__ import annotations

import copy
import json
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.machine import describe
from pruneguard.atelier import world
from pruneguard.diffusion.process import add_noise
from pruneguard.evaluation.latency import median_and_quartiles
from pruneguard.measurement import Measurement, Protocol, named, show
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.pruning.groups import columns, width_layers
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.surgery import apply_plan
from pruneguard.settings import plain

RESULT = Path("benchmarks/results/folding.json")
VARIANTS = ("removed", "folded", "constant")
Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Errors:
    """Squared error and squared dense output, summed over all elements, for one seed: by ResNet, and of the UNet."""

    resnets: Mapping[str, tuple[float, float]]
    unet: tuple[float, float]


def noised_pictures(pipeline: Pipeline, count: int, seed: int = 0) -> Inputs:
    """UNet inputs from rendered pictures: x_t (count, 4, 16, 16), t (count,) over all timesteps, text states."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    scenes = [world.sample_scene(rng) for _ in range(count)]
    images = np.stack([world.render(scene, rng) for scene in scenes])
    text = pipeline.encode_text([world.sample_caption(scene, rng) for scene in scenes])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
    alphas = pipeline.scheduler.alphas_cumprod
    t = ((torch.arange(count) + torch.rand(count, generator=generator)) / count * len(alphas)).long()
    return add_noise(latents, torch.randn(latents.shape, generator=generator), t, alphas), t, text


def random_halves(unet: UNet2DConditionModel, seed: int) -> PruningPlan:
    """A plan that keeps a random half of the norm groups of every ResNet."""
    generator = torch.Generator().manual_seed(seed)
    kept = {
        key.name: tuple(torch.randperm(layer.slots, generator=generator)[: layer.slots // 2].sort().values.tolist())
        for key, layer in width_layers(unet).items()
        if key.kind == "resnets"
    }
    return PruningPlan(resnets=kept)


@torch.no_grad()
def pruned(unet: UNet2DConditionModel, plan: PruningPlan, variant: str) -> UNet2DConditionModel:
    """A copy of `unet` pruned by `plan` as `variant` says."""
    result = copy.deepcopy(unet)
    apply_plan(result, plan, fold=variant == "folded")
    if variant == "constant":
        for name, kept in plan.resnets.items():
            dense = unet.get_submodule(name)
            norm = dense.norm2
            gone = columns([g for g in range(norm.num_groups) if g not in kept], norm.num_channels, norm.num_groups)
            taps = dense.conv2.weight[:, gone].sum(dim=(2, 3))
            result.get_submodule(name).conv2.bias += taps @ dense.nonlinearity(norm.bias[gone])
    return result


@torch.inference_mode()
def errors(unet: UNet2DConditionModel, inputs: Inputs, seed: int) -> dict[str, Errors]:
    """The errors of each variant for one random half."""
    plan = random_halves(unet, seed)
    calls: dict[str, tuple[Any, Tensor]] = {}

    def watch(name: str) -> Any:
        def hook(_: Any, arguments: Any, output: Tensor) -> None:
            calls[name] = (arguments, output)

        return hook

    handles = [unet.get_submodule(name).register_forward_hook(watch(name)) for name in plan.resnets]
    dense = unet(*inputs, return_dict=False)[0]
    for handle in handles:
        handle.remove()
    found = {}
    for variant in VARIANTS:
        student = pruned(unet, plan, variant)
        resnets = {
            name: _squares(student.get_submodule(name)(*arguments), output)
            for name, (arguments, output) in calls.items()
        }
        found[variant] = Errors(resnets, _squares(student(*inputs, return_dict=False)[0], dense))
    return found


def _squares(output: Tensor, dense: Tensor) -> tuple[float, float]:
    return float((output - dense).double().square().sum()), float(dense.double().square().sum())


def summarise(rows: Sequence[Mapping[str, Errors]], seeds: tuple[int, int], pictures: int) -> list[Measurement]:
    """Medians with quartiles of all errors, their ratios to "removed", and how many ResNets get worse."""
    settings = {"norm groups removed": 0.5, "pictures": pictures}
    summary = _Summary(Protocol(subject="atelier's UNet", settings=settings), seeds)
    samples = {
        "one ResNet": {v: [_share(pair) for row in rows for pair in row[v].resnets.values()] for v in VARIANTS},
        "all ResNets": {v: [_share(_total(row[v].resnets.values())) for row in rows] for v in VARIANTS},
        "UNet": {v: [_share(row[v].unet) for row in rows] for v in VARIANTS},
    }
    found = []
    for part, errors_of in samples.items():
        found += [summary.median(f"error/{part}/{variant}", errors_of[variant]) for variant in VARIANTS]
        for variant in VARIANTS[1:]:
            ratios = [ours / bare for ours, bare in zip(errors_of[variant], errors_of["removed"], strict=True)]
            found.append(summary.median(f"against removed/{part}/{variant}", ratios))
            if part == "one ResNet":
                found.append(summary.share(f"ResNets made worse/{variant}", [ratio > 1 for ratio in ratios]))
    return found


@dataclass(frozen=True)
class _Summary:
    protocol: Protocol
    seeds: tuple[int, int]

    def median(self, name: str, samples: Sequence[float]) -> Measurement:
        value, low, high = median_and_quartiles(list(samples))
        return Measurement(
            name=name,
            value=value,
            unit="ratio",
            low=low,
            high=high,
            interval="quartiles",
            count=len(samples),
            seeds=self.seeds,
            protocol=self.protocol,
        )

    def share(self, name: str, cases: Sequence[bool]) -> Measurement:
        value = sum(cases) / len(cases)
        return Measurement(
            name=name, value=value, unit="share", count=len(cases), seeds=self.seeds, protocol=self.protocol
        )


def by_resnet(rows: Sequence[Mapping[str, Errors]]) -> dict[str, dict[str, float]]:
    """The median relative error of each ResNet and variant over the seeds."""
    names = rows[0]["removed"].resnets
    return {
        name: {
            variant: round(statistics.median(_share(row[variant].resnets[name]) for row in rows), 5)
            for variant in VARIANTS
        }
        for name in names
    }


def _share(pair: tuple[float, float]) -> float:
    return pair[0] / pair[1]


def _total(pairs: Any) -> tuple[float, float]:
    found = list(pairs)
    return sum(error for error, _ in found), sum(whole for _, whole in found)


def tables(measurements: Sequence[Measurement], console: Console) -> None:
    """The numbers as people read them."""
    table = Table("relative squared error", *VARIANTS, title="half of the norm groups removed at random")
    for part in ("one ResNet", "all ResNets", "UNet"):
        cells = named(measurements, f"error/{part}")
        table.add_row(part, *(show(cells[variant]) for variant in VARIANTS))
        cells = named(measurements, f"against removed/{part}")
        table.add_row(f"{part}, against removed", "", *(show(cells[variant]) for variant in VARIANTS[1:]))
    cells = named(measurements, "ResNets made worse")
    table.add_row("ResNets made worse", "", *(show(cells[variant]) for variant in VARIANTS[1:]))
    console.print(table)


@click.command(help=__doc__)
@click.option("--seeds", type=click.IntRange(min=1), default=16, show_default=True, help="Random halves.")
@click.option("--pictures", type=click.IntRange(min=1), default=32, show_default=True, help="Noised pictures.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULT, show_default=True)
def main(seeds: int, pictures: int, out: Path) -> None:
    """Measure, write the results and show them."""
    machine = describe()  # before the work, so that the recorded load is not its own
    pipeline = load_pipeline("atelier")
    inputs = noised_pictures(pipeline, pictures)
    rows = [errors(pipeline.unet, inputs, seed) for seed in range(seeds)]
    measurements = summarise(rows, (0, seeds - 1), pictures)
    found = {
        "command": ("python -m benchmarks.folding " + shlex.join(sys.argv[1:])).strip(),
        **machine,
        "seeds": seeds,
        "pictures": pictures,
        "measurements": plain(measurements),
        "resnets": by_resnet(rows),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    tables(measurements, Console())
    click.echo(str(out))


if __name__ == "__main__":
    main()
