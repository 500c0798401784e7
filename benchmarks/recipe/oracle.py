"""Training of the oracle: what it learns from, and the calibration of its probabilities.

It learns from renderings, from their reconstructions, from the teacher's own pictures, and from pictures of which it
must say "none of these".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recipe.pictures import as_pictures, as_tensor
from benchmarks.recipe.strange import KINDS, Images, Labelled, decode, encode, named
from pruneguard.atelier import world
from pruneguard.atelier.oracle import ATTRIBUTES, NONE, UNKNOWN, Oracle, labels_of
from pruneguard.models import Pipeline

RENDERED, RECONSTRUCTED, DRAWN = "rendered", "reconstructed", "drawn"
SHARES = {RENDERED: 0.35, RECONSTRUCTED: 0.18, DRAWN: 0.08, "blends": 0.14, "daubs": 0.06, "smears": 0.05}
"""The share of a source in a batch; the other kinds, which are easy, divide what is left."""
DRAWN_KINDS = ("pruned", "ruined")
_VALIDATION = 8
"""One picture in so many is kept for the calibration."""


def rendered(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Renderings of the world."""
    shown = [world.sample_scene(rng) for _ in range(count)]
    return np.stack([world.render(scene, rng) for scene in shown]), labels_of(shown)


def reconstructed(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Renderings that passed the autoencoder, their latents with up to a quarter of their spread of noise."""
    images, labels = rendered(rng, count, pipeline)
    parts = []
    for part in torch.split(as_tensor(images), 32):
        z = encode(pipeline, part)
        strength = torch.from_numpy(rng.uniform(0, 0.25, (len(z), 1, 1, 1)).astype(np.float32)) * z.std()
        parts.append(decode(pipeline, z + strength * torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))))
    return as_pictures(torch.cat(parts)), labels


SOURCES = {RENDERED: rendered, RECONSTRUCTED: reconstructed, DRAWN: named, **KINDS}


def make_examples(
    folder: Path, pipeline: Pipeline, sizes: Mapping[str, int], seed: int, tell: Callable[[str], None] = print
) -> None:
    """Writes images and labels of every source that is not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, make) in enumerate(SOURCES.items()):
        if (folder / f"{name}-labels.npy").exists():
            continue
        images, labels = make(np.random.default_rng([seed, index]), sizes[name], pipeline)
        np.save(folder / f"{name}-images.npy", images)
        np.save(folder / f"{name}-labels.npy", labels)
        tell(f"{name}: {len(images)} pictures")


def example_sizes(size: int) -> dict[str, int]:
    """The pictures of each source: more of what is hard to tell apart, and few where a model must draw."""
    more = {RENDERED: 8 * size, RECONSTRUCTED: 2 * size, "blends": 4 * size, "daubs": 2 * size, "smears": 2 * size}
    few = {DRAWN: max(1, size // 8)} | dict.fromkeys(DRAWN_KINDS, max(1, size // 16))
    return {name: size for name in SOURCES} | more | few


def _load(folder: Path, name: str, *, validation: bool) -> Labelled:
    images, labels = (np.load(folder / f"{name}-{part}.npy", mmap_mode="r") for part in ("images", "labels"))
    rows = np.arange(len(images))
    chosen = rows[(rows % _VALIDATION == 0) == validation] if len(rows) >= _VALIDATION else rows
    return images[chosen], labels[chosen]


def degrade(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, H, W) with a little blur, noise and gain, as labels survive."""
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    mix = torch.rand(len(x), 1, 1, 1, generator=generator)
    noise = torch.rand(len(x), 1, 1, 1, generator=generator) ** 2 * 0.25
    gain = 1 + 0.15 * torch.randn(len(x), 1, 1, 1, generator=generator)
    return gain * (mix * x + (1 - mix) * blurred) + noise * torch.randn(x.shape, generator=generator)


def loss_of(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy summed over the attributes; NONE is the last class and UNKNOWN counts nothing."""
    losses = []
    for i, (name, classes) in enumerate(ATTRIBUTES.items()):
        truth = torch.where(labels[:, i] == NONE, len(classes), labels[:, i])
        if (truth != UNKNOWN).any():
            losses.append(F.cross_entropy(logits[name], truth, ignore_index=UNKNOWN))
    return torch.stack(losses).sum()


class _Examples:
    """Batches over all sources, in fixed shares."""

    def __init__(self, folder: Path) -> None:
        self.sources = {name: _load(folder, name, validation=False) for name in SOURCES}

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
        """Images (B, 64, 64, 3) and labels (B, 4)."""
        rest = (1 - sum(SHARES.values())) / (len(SOURCES) - len(SHARES))
        weights = np.array([SHARES.get(name, rest) for name in self.sources])
        counts = rng.multinomial(size, weights / weights.sum())
        parts = []
        for count, (images, labels) in zip(counts, self.sources.values(), strict=True):
            rows = np.sort(rng.integers(len(images), size=count))
            parts.append((images[rows], labels[rows]))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def train_oracle(
    out: Path,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    tell: Callable[[int, float], None],
    *,
    start: Path | None = None,
) -> None:
    """Trains the oracle by cross-entropy on all attributes, calibrates it, and writes out/oracle.safetensors.

    `start` is a file with the initial weights.
    """
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    examples, oracle = _Examples(out / "examples"), Oracle()
    if start:
        oracle.load_state_dict(load_file(start))
    optimiser = torch.optim.AdamW(oracle.parameters(), lr, weight_decay=1e-2)
    warmup = min(0.5, 100 / (steps + 1))
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps + 1, pct_start=warmup)
    for step in range(1, steps + 1):
        images, labels = examples.batch(batch, rng)
        loss = loss_of(oracle(degrade(as_tensor(images), generator)), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rates.step()
        tell(step, loss.item())
    calibrate(oracle.eval(), out / "examples", generator)
    save_file(oracle.state_dict(), out / "oracle.safetensors")


@torch.inference_mode()
def calibrate(oracle: Oracle, folder: Path, generator: torch.Generator) -> dict[str, float]:
    """Divides each head by the temperature that fits pictures of all sources which training did not see.

    Source: Guo et al. 2017, arXiv:1706.04599, temperature scaling; the temperature minimises the cross-entropy on a
    grid from 0.25 to 4. Readings stay as they are. Returns the temperatures.
    """
    logits: dict[str, list[Tensor]] = {name: [] for name in ATTRIBUTES}
    truths = []
    for name in SOURCES:
        images, labels = _load(folder, name, validation=True)
        for start in range(0, len(images), 64):
            pictures = degrade(as_tensor(images[start : start + 64]), generator)
            for attribute, values in oracle(pictures).items():
                logits[attribute].append(values)
        truths.append(torch.from_numpy(labels))
    known = torch.cat(truths)
    temperatures = {}
    for i, (name, classes) in enumerate(ATTRIBUTES.items()):
        truth = torch.where(known[:, i] == NONE, len(classes), known[:, i])
        values = torch.cat(logits[name])
        grid = torch.logspace(-2, 2, 81, base=2.0).tolist()
        temperatures[name] = min(grid, key=lambda t: float(F.cross_entropy(values / t, truth, ignore_index=UNKNOWN)))
        for parameter in oracle.heads[name].parameters():
            parameter.div_(temperatures[name])
    return temperatures
