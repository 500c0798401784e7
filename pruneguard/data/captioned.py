"""Picture files with captions, encoded once each, as a latent set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.data.cache import CacheSettings, build_latent_set, encode_in_batches
from pruneguard.data.latents import LatentSet
from pruneguard.data.pictures import read_picture
from pruneguard.errors import DataError
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
        made_from={"pictures": _file_stamps(files), "size": size},
        cache=cache,
        on_progress=on_progress,
    )


def _file_stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of change of each file: a cache is made again when a picture was replaced.

    The content is not read, so a copy of the folder elsewhere has other stamps and a cache of its own.
    """
    stamps = []
    for path in files:
        try:
            found = path.stat()
        except OSError:
            raise DataError(f"picture {path} does not exist; correct its name in the caption file, or add it") from None
        stamps.append((str(path), found.st_size, found.st_mtime_ns))
    return stamps
