"""Training data from atelier's world: scenes, rendered and captioned from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pruneguard import __version__
from pruneguard.atelier import world
from pruneguard.data.cache import CacheSettings, build_latent_set, encode_in_batches
from pruneguard.data.latents import LatentSet
from pruneguard.data.source import SOURCES
from pruneguard.errors import ConfigError
from pruneguard.runs.progress import OnProgress, silent

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """The number of pictures to render."""

    size: int = 4096


@SOURCES.register("atelier", settings=WorldSettings)
def atelier(
    settings: WorldSettings, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """Renderings of atelier's world."""
    return from_atelier(pipeline, settings.size, seed, cache=cache, on_progress=on_progress)


def from_atelier(
    pipeline: Pipeline,
    size: int = 4096,
    seed: int = 0,
    *,
    cache: CacheSettings | None = None,
    on_progress: OnProgress = silent,
) -> LatentSet:
    """A latent set of `size` scenes, each attribute uniform; equal seeds give equal sets. Raises ConfigError."""
    if size < 1:
        raise ConfigError(f"atelier data: `size` is {size}; it must be at least 1")
    if pipeline.latent_size * pipeline.vae_scale != world.SIZE:
        raise ConfigError(
            f"atelier's pictures are {world.SIZE} pixels wide and {pipeline.source} draws "
            f"{pipeline.latent_size * pipeline.vae_scale}; choose other data for this model"
        )
    cache = cache or CacheSettings()
    # Scenes and pictures have separate random streams, so all captions are known before anything is rendered.
    rng = np.random.default_rng([seed, 0])
    shown = [world.sample_scene(rng) for _ in range(size)]
    captions = [world.sample_caption(scene, rng) for scene in shown]

    def pictures() -> Iterator[Tensor]:
        brush = np.random.default_rng([seed, 1])
        for scene in shown:
            yield torch.from_numpy(world.render(scene, brush))

    return build_latent_set(
        pipeline,
        lambda: encode_in_batches(pipeline, pictures(), cache.batch_size),
        image_count=size,
        image_of=range(size),
        captions=captions,
        shown=[scene.caption() for scene in shown],  # names what the row's caption may leave out
        made_from={"world": "atelier", "version": __version__, "seed": seed},
        cache=cache,
        on_progress=on_progress,
    )
