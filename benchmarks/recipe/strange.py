"""Pictures that are not, or not wholly, of atelier's world: the oracle learns from them to say "none of these".

Every kind takes a generator and a number of pictures. It gives images (N, 64, 64, 3) uint8 and labels (N, 4) in the
order of ATTRIBUTES. NONE says that no value of the attribute shows, and UNKNOWN that nobody can tell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.recipe.pictures import as_pictures, as_tensor
from pruneguard.atelier import world
from pruneguard.atelier.oracle import NONE, UNKNOWN, labels_of
from pruneguard.atelier.world import SIZE, STYLES, Scene
from pruneguard.models import Pipeline
from pruneguard.pruning.search import random_plan
from pruneguard.pruning.surgery import apply_plan
from pruneguard.runtime import draw, torch_components

Images = NDArray[np.uint8]
Labelled = tuple[Images, NDArray[np.int64]]
Kind = Callable[[np.random.Generator, int, Pipeline], Labelled]

NOTHING = (NONE, NONE, NONE, NONE)
STYLELESS = (UNKNOWN, NONE, UNKNOWN, UNKNOWN)
"""The style was destroyed; what is left of the rest differs from picture to picture."""


def _rows(label: tuple[int, ...], count: int) -> NDArray[np.int64]:
    return np.tile(np.array(label, np.int64), (count, 1))


def _scenes(rng: np.random.Generator, count: int) -> list[Scene]:
    return [world.sample_scene(rng) for _ in range(count)]


def _renderings(rng: np.random.Generator, count: int) -> Tensor:
    return as_tensor(np.stack([world.render(scene, rng) for scene in _scenes(rng, count)]))


def blends(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """One scene in two styles at once, each with a weight of 0.4 to 0.6: there is no style, and all else stays."""
    shown, images = _scenes(rng, count), np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, scene in enumerate(shown):
        other = Scene(scene.object, str(rng.choice([s for s in STYLES if s != scene.style])), scene.colour, scene.dress)
        seed, weight = int(rng.integers(2**31)), rng.uniform(0.4, 0.6)  # equal seeds: equal place, size and ground
        first, second = (world.render(each, np.random.default_rng(seed)).astype(float) for each in (scene, other))
        images[i] = np.round(weight * first + (1 - weight) * second)
    labels = labels_of(shown)
    labels[:, 1] = NONE
    return images, labels


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _smooth(rng: np.random.Generator, count: int, channels: int, cells: int) -> Tensor:
    """Random fields (N, C, H, W) of about unit size that vary over a `cells`-th of the picture."""
    return F.interpolate(_noise(rng, (count, channels, cells, cells)), SIZE, mode="bicubic", align_corners=False)


def blurred(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Renderings at a sixth to a tenth of their resolution."""
    parts = [
        F.interpolate(
            F.interpolate(picture, int(rng.integers(6, 11)), mode="area"), SIZE, mode="bicubic", align_corners=False
        )
        for picture in torch.split(_renderings(rng, count), 1)
    ]
    return as_pictures(torch.cat(parts)), _rows(STYLELESS, count)


def smears(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Renderings whose pixels were displaced by several pixels, in directions that change within a few pixels."""
    base = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 3, SIZE, SIZE], align_corners=False)
    fields = torch.cat([_smooth(rng, 1, 2, int(rng.integers(10, 17))) for _ in range(count)])
    reach = torch.from_numpy(rng.uniform(0.14, 0.28, (count, 1, 1, 1)).astype(np.float32))
    places = base + reach * fields.permute(0, 2, 3, 1)
    moved = F.grid_sample(_renderings(rng, count), places, padding_mode="reflection", align_corners=False)
    return as_pictures(F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, stride=1)), _rows(STYLELESS, count)


def patches(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Irregular light and dark patches of one hue on a ground: nothing of the world."""
    parts = []
    for _ in range(count):
        ground = rng.uniform(-0.8, 0.8, (1, 3, 1, 1)).astype(np.float32)
        hue = rng.uniform(-1, 1, (1, 3, 1, 1)).astype(np.float32)
        field = _smooth(rng, 1, 1, int(rng.integers(5, 14)))
        mask = torch.sigmoid(6 * (_smooth(rng, 1, 1, 4) - float(rng.uniform(-0.5, 0.5))))
        light = torch.sigmoid(float(rng.uniform(2, 12)) * field)
        inside = torch.from_numpy(hue) * (1 - light) + float(rng.uniform(0.2, 1)) * light
        parts.append(torch.from_numpy(ground) * (1 - mask) + inside * mask)
    return as_pictures(torch.cat(parts)), _rows(NOTHING, count)


def daubs(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Whole scenes whose inside has irregular light or dark patches instead of a style's regular pattern."""
    shown, images = _scenes(rng, count), np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, scene in enumerate(shown):
        seed = int(rng.integers(2**31))
        flat, other = (
            world.render(Scene(scene.object, "flat", colour, scene.dress), np.random.default_rng(seed)).astype(float)
            for colour in (scene.colour, "red" if scene.colour == "cyan" else "cyan")
        )
        inside = np.clip(np.abs(flat - other).max(-1, keepdims=True) / 60, 0, 1)
        field = _smooth(rng, 1, 1, int(rng.integers(6, 17)))[0, 0, :, :, None].numpy()
        patches = inside / (1 + np.exp(-float(rng.uniform(2, 9)) * (field - rng.uniform(-0.4, 0.4))))
        paint = 0.2 * flat + 0.8 * 255 if rng.random() < 0.5 else 0.25 * flat
        images[i] = np.round(flat * (1 - patches) + paint * patches)
    labels = labels_of(shown)
    labels[:, 1] = NONE
    return images, labels


def noise(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Coloured noise of every scale, and renderings that drown in noise of the pixels."""
    parts = []
    for i in range(count):
        if i % 2:
            field = _smooth(rng, 1, 3, int(rng.integers(3, SIZE + 1))) * float(rng.uniform(0.2, 0.8))
            parts.append(field + float(rng.uniform(-0.5, 0.5)))
        else:
            strength = float(rng.uniform(1.5, 3))
            parts.append(0.3 * _renderings(rng, 1) + strength * _noise(rng, (1, 3, SIZE, SIZE)))
    return as_pictures(torch.cat(parts)), _rows(NOTHING, count)


def foreign(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Pictures of another world: gradients, and crowds of polygons in many colours."""
    xy = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i in range(count):
        ramp = ((xy / SIZE - 0.5) @ rng.uniform(-1, 1, (2, 3))) + rng.uniform(0, 1, 3)
        for _ in range(int(rng.integers(0, 12))):
            normals = rng.standard_normal((4, 2))
            inside = np.all((xy - rng.uniform(0, SIZE, 2)) @ normals.T < rng.uniform(2, 22, 4), axis=-1)
            ramp[inside] = rng.uniform(0, 1, 3)
        images[i] = np.clip(ramp, 0, 1) * 255
    return images, _rows(NOTHING, count)


def unfinished(rng: np.random.Generator, count: int, pipeline: Pipeline) -> Labelled:
    """Half-denoised latents, x_t with more noise than signal, decoded."""
    latents = encode(pipeline, _renderings(rng, count))
    alphas = pipeline.scheduler.alphas_cumprod[torch.from_numpy(rng.integers(720, 1000, count))].view(-1, 1, 1, 1)
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * _noise(rng, tuple(latents.shape))
    return as_pictures(decode(pipeline, noisy)), _rows(NOTHING, count)


def pruned(rng: np.random.Generator, count: int, pipeline: Pipeline, batch: int = 16) -> Labelled:
    """What pruned copies of the teacher draw before they are distilled, another plan every few pictures."""

    def prune(unet: torch.nn.Module) -> None:
        apply_plan(unet, random_plan(unet, int(rng.integers(2**31)), keep=float(rng.uniform(0.4, 0.6))))

    return _drawn_by_copies(rng, count, pipeline, prune, batch), _rows(NOTHING, count)


def ruined(rng: np.random.Generator, count: int, pipeline: Pipeline, batch: int = 16) -> Labelled:
    """What copies of the teacher draw whose weights were disturbed by as much as their spread."""

    def disturb(unet: torch.nn.Module) -> None:
        strength = float(rng.uniform(0.7, 1.2))
        with torch.no_grad():
            for parameter in unet.parameters():
                if parameter.ndim > 1:
                    parameter.add_(strength * parameter.std() * _noise(rng, tuple(parameter.shape)))

    return _drawn_by_copies(rng, count, pipeline, disturb, batch), _rows(NOTHING, count)


def named(rng: np.random.Generator, count: int, pipeline: Pipeline, batch: int = 32) -> Labelled:
    """What the teacher itself draws of training captions that name everything, at several steps and scales."""
    shown = _scenes(rng, count)
    captions = [next(c for c in _spoken(scene, rng) if world.purpose(c) == "training") for scene in shown]
    parts = []
    for start in range(0, count, batch):
        chunk = captions[start : start + batch]
        steps, scale = int(rng.integers(15, 26)), float(rng.uniform(3, 10))
        parts.append(_draw(pipeline, chunk, rng, steps=steps, guidance_scale=scale))
    return np.concatenate(parts), labels_of(shown)


KINDS: dict[str, Kind] = {
    "blends": blends,
    "blurred": blurred,
    "smears": smears,
    "patches": patches,
    "daubs": daubs,
    "noise": noise,
    "foreign": foreign,
    "unfinished": unfinished,
    "pruned": pruned,
    "ruined": ruined,
}
"""By name, the kinds in which at least the style is none of the world's."""


def _spoken(scene: Scene, rng: np.random.Generator) -> list[str]:
    captions = [scene.caption(template) for template in world.TEMPLATES]
    return [captions[i] for i in rng.permutation(len(captions))] + [world.sample_caption(scene, rng, unsaid=0.0)]


def _draw(
    pipeline: Pipeline, captions: list[str], rng: np.random.Generator, *, steps: int, guidance_scale: float
) -> Images:
    first = int(rng.integers(2**31))
    return draw(
        torch_components(pipeline),
        captions,
        range(first, first + len(captions)),
        steps=steps,
        guidance_scale=guidance_scale,
        batch_size=len(captions),
    )


def _drawn_by_copies(
    rng: np.random.Generator, count: int, pipeline: Pipeline, change: Callable[[torch.nn.Module], None], batch: int
) -> Images:
    parts = []
    for start in range(0, count, batch):
        unet = copy.deepcopy(pipeline.unet)
        change(unet)
        changed = copy.copy(pipeline)
        changed.unet = unet
        captions = [world.sample_caption(scene, rng) for scene in _scenes(rng, min(batch, count - start))]
        parts.append(_draw(changed, captions, rng, steps=10, guidance_scale=float(rng.uniform(1, 7.5))))
    return np.concatenate(parts)


@torch.inference_mode()
def encode(pipeline: Pipeline, pictures: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] to latents (N, C, h, w), scaled for the UNet."""
    latents: Tensor = pipeline.vae.encode(pictures).latent_dist.mean * pipeline.vae.config.scaling_factor
    return latents


@torch.inference_mode()
def decode(pipeline: Pipeline, latents: Tensor, batch: int = 32) -> Tensor:
    """Latents (N, C, h, w), scaled for the UNet, to pictures (N, 3, H, W)."""
    parts = [
        pipeline.vae.decode(part / pipeline.vae.config.scaling_factor).sample for part in torch.split(latents, batch)
    ]
    return torch.cat(parts)
