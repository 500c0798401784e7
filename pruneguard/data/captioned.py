"""Picture files with captions, encoded once each, as a latent set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.data.cache import CacheSettings, build_latent_set, encode_in_batches
from pruneguard.data.latents import LatentSet
from pruneguard.data.picture_digests import picture_digests
from pruneguard.data.pictures import read_picture
from pruneguard.runs.progress import OnProgress

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


def captioned_pictures(
    rows: Sequence[tuple[Path, str]], pipeline: Pipeline, *, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """The latent set of picture files and captions, one row for each caption; a file may have several.

    Raises DataError, which names the picture that is missing or damaged.
    """
    files = {path: number for number, path in enumerate(dict.fromkeys(path for path, _ in rows))}
    size = pipeline.latent_size * pipeline.vae_scale
    return build_latent_set(
        pipeline,
        lambda: encode_in_batches(pipeline, (read_picture(path, size) for path in files), cache.batch_size),
        image_count=len(files),
        image_of=[files[path] for path, _ in rows],
        captions=[caption for _, caption in rows],
        made_from={"pictures": picture_digests(files, cache.folder), "size": size},
        cache=cache,
        on_progress=on_progress,
    )
