"""The contract of an export target: it writes the files of an engine and says what it wrote as an engine record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pruneguard.bundle import EngineRecord
from pruneguard.registry import Registry

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

OnProgress = Callable[[str, int, int], None]
"""`on_progress(stage, done, total)` as each stage of an export begins, and once at the end."""


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """The base of a target's own settings. `precision` is that of the weights; it is part of an engine's name."""

    precision: str = "fp32"


class Exported(NamedTuple):
    """What a target wrote: the record for the manifest, and a report of how the engine agrees, as JSON carries it."""

    engine: EngineRecord
    report: dict[str, Any]


class Target(Protocol):
    """Writes the engine of a pipeline.

    `folder` is empty and lies in a bundle's draft; `place` is its path inside the bundle, by which the record names its
    files. `prompts` are ones that the model knows, for the parity check. Raises ExportError, which leaves the folder to
    the caller to remove; an engine that does not agree with the pipeline is an error.
    """

    def __call__(
        self,
        pipeline: Pipeline,
        folder: Path,
        place: str,
        settings: Any,
        *,
        prompts: Sequence[str] | None,
        on_progress: OnProgress,
    ) -> Exported: ...


TARGETS: Registry[Target] = Registry("export target", packages=["pruneguard.export.targets"])
