"""The contract of data sources, and their registry. A source makes the latent set that the lower level trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from pruneguard.data.cache import CacheSettings
from pruneguard.data.latents import LatentSet
from pruneguard.registry import Registry
from pruneguard.runs.progress import OnProgress
from pruneguard.settings import Choice

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


class DataSource(Protocol):
    """Makes a latent set from the entry's settings object.

    `seed` decides everything random. Raises ConfigError for settings that cannot work and DataError for files that
    cannot be read.
    """

    def __call__(
        self, settings: Any, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
    ) -> LatentSet: ...


SOURCES: Registry[DataSource] = Registry("data source", packages=("pruneguard.data",))
"""Data sources by name; `build` is the DataSource itself."""


def source_settings(choice: Choice, common: Mapping[str, Any]) -> Any:
    """The settings object of a source: the choice's options, and those of the `common` values that it has fields for.

    Values of None count as not given. Raises ConfigError for an unknown source or option, or a wrong value.
    """
    known = {entry.name for entry in fields(SOURCES.find(choice.name).settings)}
    given = {name: value for name, value in common.items() if name in known and value is not None}
    return SOURCES.settings(Choice(choice.name, {**given, **choice.options}))
