"""Training data without pictures: the teacher draws a list of captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pruneguard.data.cache import CacheSettings, build_latent_set
from pruneguard.data.latents import LatentSet
from pruneguard.data.source import SOURCES
from pruneguard.errors import ConfigError
from pruneguard.runs.digest import fingerprint
from pruneguard.runs.progress import Advance, OnProgress, silent
from pruneguard.runtime.sampling.request import MAX_GUIDANCE
from pruneguard.text.prompts import check_prompts, without_minors

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True, kw_only=True)
class DrawSettings:
    """How the teacher draws: PNDM with the steps and guidance of a served image."""

    steps: int = 25
    guidance_scale: float = 7.5
    seed: int = 0
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError("drawing: `steps` and `batch_size` must be at least 1")
        if not 0 <= self.guidance_scale <= MAX_GUIDANCE or self.seed < 0:
            raise ConfigError(f"drawing: `guidance_scale` must lie between 0 and {MAX_GUIDANCE:g}, `seed` not below 0")


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """`captions` is a text file with a caption a line; `size` pictures are drawn of them, by default one for each."""

    captions: str = ""
    size: int | None = None
    steps: int = 25
    guidance_scale: float = 7.5
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Raises ConfigError if there is no caption file."""
        if not self.captions:
            raise ConfigError("--data synthetic needs --captions FILE, a caption a line")


@SOURCES.register("synthetic", settings=SyntheticSettings)
def synthetic(
    settings: SyntheticSettings, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """Pictures that the teacher draws of a list of captions."""
    draw = DrawSettings(
        steps=settings.steps, guidance_scale=settings.guidance_scale, seed=seed, batch_size=settings.batch_size
    )
    captions = _read_captions(Path(settings.captions))
    return from_captions(captions, pipeline, size=settings.size, draw=draw, cache=cache, on_progress=on_progress)


def _read_captions(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--captions {path} cannot be read ({error}); give a text file") from None
    return [line.strip() for line in lines if line.strip()]


def teacher_latents(pipeline: Pipeline, prompts: Sequence[str], settings: DrawSettings) -> Iterator[Tensor]:
    """Latents (B, C, h, w) that the teacher draws, scaled for the UNet, batch by batch; prompt i has seed + i."""
    from pruneguard.runtime import draw_latents, torch_components

    components = torch_components(pipeline)
    for start in range(0, len(prompts), settings.batch_size):
        part = list(prompts[start : start + settings.batch_size])
        seeds = [settings.seed + start + i for i in range(len(part))]
        drawn = draw_latents(
            components,
            part,
            seeds,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            batch_size=settings.batch_size,
        )
        yield torch.from_numpy(drawn).float()


def from_captions(
    captions: Sequence[str],
    pipeline: Pipeline,
    *,
    size: int | None = None,
    draw: DrawSettings | None = None,
    cache: CacheSettings | None = None,
    on_progress: OnProgress = silent,
) -> LatentSet:
    """A latent set of `size` pictures, by default one for each caption; the captions are drawn in turn.

    Captions that mention minors are left out and counted in the progress, as `captions/dropped`. Raises ConfigError for
    an empty caption, and if no caption is left.
    """
    kept = without_minors(captions)
    if dropped := len(captions) - len(kept):
        phase = f"captions, without {dropped} that mention minors"
        on_progress(Advance(phase, len(kept), len(kept), {"captions/dropped": dropped}))
    listed = check_prompts(kept, "caption list")
    if not listed or (size is not None and size < 1):
        raise ConfigError("synthetic data needs at least one picture, and one caption that does not mention minors")
    draw = draw or DrawSettings()
    prompts = [listed[i % len(listed)] for i in range(size or len(listed))]
    return build_latent_set(
        pipeline,
        lambda: teacher_latents(pipeline, prompts, draw),
        image_count=len(prompts),
        image_of=range(len(prompts)),
        captions=prompts,
        made_from={
            "draw": asdict(draw),
            "teacher": fingerprint(pipeline.unet),
            "scheduler": dict(pipeline.scheduler.config),
        },
        cache=cache or CacheSettings(),
        on_progress=on_progress,
    )
