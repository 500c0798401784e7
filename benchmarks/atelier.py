"""The quality of atelier, as its oracle reads it: renderings, reconstructions, and pictures that the teacher draws.

python -m benchmarks.atelier --out benchmarks/results/atelier.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe
from pruneguard.atelier import world
from pruneguard.atelier.oracle import ATTRIBUTES, Oracle, labels_of, load_oracle
from pruneguard.measurement import Measurement, Protocol, read_measurements, show
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runtime import draw, torch_components
from pruneguard.settings import plain

Images = NDArray[np.uint8]


def agreement(oracle: Oracle, images: Images, labels: NDArray[np.int64], subject: str) -> list[Measurement]:
    """The share of images (N, 64, 64, 3) that are read right, by attribute; dress counts mannequins only."""
    right = oracle.read(images) == labels
    columns = {name: right[labels[:, i] >= 0, i] for i, name in enumerate(ATTRIBUTES)}
    protocol = Protocol(subject=subject, backbone="atelier-oracle")
    return [
        Measurement(name=f"read/{name}", value=float(hits.mean()), unit="share", count=len(hits), protocol=protocol)
        for name, hits in columns.items()
    ]


def reconstruct(pipeline: Pipeline, images: Images, batch: int = 64) -> Images:
    """The autoencoder's reconstructions (N, 64, 64, 3) of images (N, 64, 64, 3)."""
    parts = []
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            y = pipeline.vae.decode(pipeline.vae.encode(x).latent_dist.mean).sample
        parts.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


@click.command()
@click.option("--model", default="atelier", show_default=True)
@click.option("--renderings", default=2048, show_default=True)
@click.option("--prompts", default=550, show_default=True, help="Held-out prompts that the teacher draws.")
@click.option("--guidance-scale", default=7.5, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/atelier.json"))
def main(model: str, renderings: int, prompts: int, guidance_scale: float, seed: int, out: Path) -> None:
    """Measure and write the results."""
    machine, pipeline, oracle = describe(), load_pipeline(model), load_oracle()
    rng = np.random.default_rng([seed, 99])
    shown = [world.sample_scene(rng) for _ in range(renderings)]
    images, labels = np.stack([world.render(scene, rng) for scene in shown]), labels_of(shown)
    pairs = world.captions_for("audit")
    chosen = [pairs[i % len(pairs)] for i in rng.permutation(max(prompts, len(pairs)))[:prompts]]
    started = time.perf_counter()
    drawn = draw(
        torch_components(pipeline),
        [caption for caption, _ in chosen],
        range(seed * 10_000, seed * 10_000 + prompts),
        guidance_scale=guidance_scale,
        batch_size=32,
    )
    seconds = time.perf_counter() - started
    results: dict[str, Any] = {
        "subjects": plain(
            {
                "renderings": agreement(oracle, images, labels, "renderings"),
                "reconstructions": agreement(oracle, reconstruct(pipeline, images), labels, "reconstructions"),
                "teacher": agreement(oracle, drawn, labels_of([scene for _, scene in chosen]), "teacher"),
            }
        ),
        "settings": {
            "renderings": renderings,
            "prompts": prompts,
            "steps": 25,
            "guidance_scale": guidance_scale,
            "seed": seed,
        },
        "seconds_per_picture": round(seconds / prompts, 3),
        "command": "python -m benchmarks.atelier " + " ".join(sys.argv[1:]),
        **machine,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")
    for subject, entries in results["subjects"].items():
        click.echo(f"{subject}: " + ", ".join(f"{m.name} {show(m)}" for m in read_measurements(entries)))


if __name__ == "__main__":
    main()
