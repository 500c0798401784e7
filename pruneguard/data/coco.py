"""COCO captions: an annotation file and its folder of pictures, one row for each caption."""

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
from pruneguard.errors import ConfigError, DataError
from pruneguard.runs.progress import OnProgress, silent

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True, kw_only=True)
class CocoSettings:
    """`captions` is the annotation file `captions_*.json`, `images` the folder of its pictures."""

    captions: str = ""
    images: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError if a path is missing."""
        if not self.captions or not self.images:
            raise ConfigError("--data coco needs --captions ANNOTATIONS.json and --images FOLDER")


@SOURCES.register("coco", settings=CocoSettings)
def coco(
    settings: CocoSettings, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """COCO's pictures and captions; nothing about them is random."""
    return from_coco(Path(settings.captions), Path(settings.images), pipeline, cache=cache, on_progress=on_progress)


def from_coco(
    annotations: Path,
    folder: Path,
    pipeline: Pipeline,
    *,
    cache: CacheSettings | None = None,
    on_progress: OnProgress = silent,
) -> LatentSet:
    """A latent set of `captions_*.json` and its pictures; each picture is encoded once for all of its captions.

    Raises DataError, which names the file that is wrong.
    """
    rows = _rows(annotations, folder)
    return captioned_pictures(rows, pipeline, cache=cache or CacheSettings(), on_progress=on_progress)


def _rows(annotations: Path, folder: Path) -> list[tuple[Path, str]]:
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        captions = [(int(entry["image_id"]), str(entry["caption"]).strip()) for entry in content["annotations"]]
    except OSError as error:
        raise DataError(f"{annotations} cannot be read: {error.strerror}; give COCO's captions_*.json") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{annotations} is not a COCO caption file ({error!r}); give COCO's captions_*.json") from None
    if not captions:
        raise DataError(f"{annotations} has no captions; give COCO's captions_*.json")
    if unknown := [number for number, _ in captions if number not in names]:
        raise DataError(
            f"{annotations}: a caption belongs to image {unknown[0]}, which `images` does not list; correct it"
        )
    return [(inside(folder, names[number], str(annotations)), caption) for number, caption in captions]
