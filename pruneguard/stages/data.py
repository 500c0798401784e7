"""The data of the lower level, from the source that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.data.cache import CacheSettings
from pruneguard.data.latents import LatentSet
from pruneguard.data.source import SOURCES, source_settings
from pruneguard.errors import ConfigError, nearest
from pruneguard.families import Family
from pruneguard.models import Pipeline
from pruneguard.runs.progress import OnProgress
from pruneguard.settings import Choice

if TYPE_CHECKING:
    from pruneguard.stages.settings import DataSettings, RunSettings


def build_data(pipeline: Pipeline, settings: RunSettings, folder: Path, on_progress: OnProgress) -> LatentSet:
    """Latents and text states, computed once and kept in `folder`.

    Raises ConfigError for a source that cannot be used, and DataError for files that cannot be read.
    """
    choice = chosen_source(settings.data, settings.family)
    common = {name: getattr(settings.data, name) for name in ("captions", "images", "size")}
    source = SOURCES.find(choice.name).build
    return source(
        source_settings(choice, common),
        pipeline,
        seed=settings.training.seed,
        cache=CacheSettings(folder=folder, max_memory_mb=settings.data.cache_mib),
        on_progress=on_progress,
    )


def chosen_source(data: DataSettings, family: Family) -> Choice:
    """The data source: the one that the settings name, or the family's for `auto`.

    A name that no source has is the folder of an image-folder source. Raises ConfigError if it is no folder either, and
    if the family has no data of its own.
    """
    choice = data.source
    if choice.name == "auto":
        if family.data is None:
            raise ConfigError("--data is missing: give a folder of images with metadata.jsonl, coco, or synthetic")
        return Choice(family.data, choice.options)
    if choice.name in SOURCES.names():
        return choice
    if not Path(choice.name).is_dir():
        known = nearest(choice.name, SOURCES.names())
        raise ConfigError(f"--data {choice.name} is neither a folder nor a data source: {known}")
    return Choice("images", {"folder": choice.name, **choice.options})
