"""A folder of pictures with captions in `metadata.jsonl`: the imagefolder convention of the `datasets` library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.data.cache import CacheSettings
from pruneguard.data.captioned import captioned_pictures
from pruneguard.data.latents import LatentSet
from pruneguard.data.pictures import inside
from pruneguard.data.source import SOURCES
from pruneguard.errors import DataError
from pruneguard.runs.progress import OnProgress, silent

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True, kw_only=True)
class ImageFolderSettings:
    """The folder with the pictures and `metadata.jsonl`."""

    folder: str


@SOURCES.register("images", settings=ImageFolderSettings)
def images(
    settings: ImageFolderSettings, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """The pictures of a folder; nothing about them is random."""
    return from_image_folder(Path(settings.folder), pipeline, cache=cache, on_progress=on_progress)


def from_image_folder(
    folder: Path, pipeline: Pipeline, *, cache: CacheSettings | None = None, on_progress: OnProgress = silent
) -> LatentSet:
    """A latent set of the pictures that `metadata.jsonl` lists, one JSON object with `file_name` and `text` a line.

    Raises DataError, which names the file and line that are wrong.
    """
    return captioned_pictures(_entries(folder), pipeline, cache=cache or CacheSettings(), on_progress=on_progress)


def _entries(folder: Path) -> list[tuple[Path, str]]:
    listing = folder / "metadata.jsonl"
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{listing} cannot be read ({error}); write one line {{'file_name': ..., 'text': ...}} for each picture"
        ) from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{listing}, line {number}"
        try:
            entry = json.loads(line)
            name, text = entry["file_name"], entry["text"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{where}: not a JSON object with the keys `file_name` and `text`; correct it") from None
        if not isinstance(name, str) or not isinstance(text, str):
            raise DataError(f"{where}: `file_name` and `text` must be texts; correct it")
        entries.append((inside(folder, name, where), text))
    if not entries:
        raise DataError(f"{listing} lists no pictures; add one line for each")
    return entries
