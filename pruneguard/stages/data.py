"""The lower level's data, from whatever the settings name."""

from __future__ import annotations

from pathlib import Path

from pruneguard.errors import ConfigError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.stages.settings import DataSettings, RunSettings
from pruneguard.training import (
    CacheSettings,
    DrawSettings,
    LatentSet,
    OnProgress,
    from_captions,
    from_coco,
    from_image_folder,
)


def build_data(pipeline: Pipeline, settings: RunSettings, folder: Path, on_progress: OnProgress) -> LatentSet:
    """Latents and text states, computed once and kept in `folder`; ConfigError where the settings name no data."""
    data = settings.data
    cache = CacheSettings(folder=folder, max_memory_mb=data.cache_mib)
    source = data.source
    if source == "auto":
        source = "atelier" if settings.family == "atelier" else ""
    if not source:
        raise ConfigError("--data is missing: give a folder of images with metadata.jsonl, coco, or synthetic")
    if source == "atelier":
        return from_atelier(pipeline, data.size, settings.training.seed, cache=cache, on_progress=on_progress)
    if source == "synthetic":
        draw = DrawSettings(seed=settings.training.seed)
        captions = _read_captions(data)
        return from_captions(captions, pipeline, size=data.size, draw=draw, cache=cache, on_progress=on_progress)
    if source == "coco":
        if not data.captions or not data.images:
            raise ConfigError("--data coco needs --captions ANNOTATIONS.json and --images FOLDER")
        return from_coco(Path(data.captions), Path(data.images), pipeline, cache=cache, on_progress=on_progress)
    return from_image_folder(Path(source), pipeline, cache=cache, on_progress=on_progress)


def _read_captions(data: DataSettings) -> list[str]:
    if not data.captions:
        raise ConfigError("--data synthetic needs --captions FILE, a caption a line")
    try:
        lines = Path(data.captions).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--captions {data.captions} cannot be read ({error}); give a text file") from None
    return [line.strip() for line in lines if line.strip()]
