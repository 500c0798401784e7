"""A pipeline's engines as ONNX: written to a staging folder, compared with their source, and then put in place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.errors import ExportError, PruneguardError
from pruneguard.measurement import Measurement
from pruneguard.runtime.engines.onnx_engine import onnx_components
from pruneguard.runtime.engines.torch_engine import sampler_settings, torch_components
from pruneguard.runtime.sampling.settings import SamplerSettings
from pruneguard.settings import plain
from pruneguard.staging import folder_aside, write_failure
from pruneguard.versions import versions

from .components import components_of
from .graph import check_opset, write_graph
from .layout import GRAPH, write_layout
from .parity import ParityReport, ParitySettings, Progress, check_parity

if TYPE_CHECKING:
    from pruneguard.models import Pipeline
    from pruneguard.runtime.engines.engine import Components

PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """What an export wrote and measured; `to_dict` gives it as JSON values.

    files: path inside the folder -> size in bytes
    seconds, nodes: component -> wall time of its export, nodes of its graph; seconds also has "parity"
    parity: the report with every case; `measurements` has its worst values
    """

    opset: int
    files: dict[str, int]
    seconds: dict[str, float]
    nodes: dict[str, int]
    parity: dict[str, Any]
    measurements: tuple[Measurement, ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        values: dict[str, Any] = plain(self)
        return values


def export_onnx(
    pipeline: Pipeline,
    folder: Path,
    *,
    opset: int = 20,
    sampler: SamplerSettings | None = None,
    prompts: Sequence[str] | None = None,
    parity: ParitySettings | None = None,
    on_progress: Progress | None = None,
) -> ExportRecord:
    """Writes `folder` in the layout of optimum's ONNX pipelines, and keeps it only if it agrees with `pipeline`.

    Works as `write_onnx`. An earlier export at `folder` is replaced in one step; after an error or a killed process it
    is still there. Raises ExportError and ConfigError.
    """
    target = Path(folder).absolute()
    with _staged(target) as staging:
        return write_onnx(
            pipeline,
            staging,
            opset=opset,
            sampler=sampler,
            prompts=prompts,
            parity=parity,
            on_progress=on_progress,
        )


def write_onnx(
    pipeline: Pipeline,
    folder: Path,
    *,
    opset: int = 20,
    sampler: SamplerSettings | None = None,
    prompts: Sequence[str] | None = None,
    parity: ParitySettings | None = None,
    on_progress: Progress | None = None,
) -> ExportRecord:
    """Writes the engines into an empty `folder`, for a caller that stages it itself, such as a bundle's draft.

    `sampler` is how the engines are sampled, by default by the pipeline's own scheduler. `prompts` are texts that the
    model knows, for the parity check. `on_progress(stage, done, total)` is called as each stage begins (the components,
    "parity", "images", "done") and, within parity, after every UNet call and case.
    Raises ConfigError for a scheduler that no solver computes, and ExportError, which leaves half an export behind.
    """
    check_opset(opset)
    settings = parity or ParitySettings()
    sampler = sampler or sampler_settings(pipeline)
    components = components_of(pipeline)
    total = len(components) + settings.count_units(sampler)
    seconds: dict[str, float] = {}
    nodes: dict[str, int] = {}

    def report(stage: str, done: int) -> None:
        if on_progress is not None:
            on_progress(stage, done, total)

    write_layout(pipeline, folder, sampler)
    for number, component in enumerate(components):
        report(component.name, number)
        started = time.perf_counter()
        nodes[component.name] = write_graph(component, folder / component.name / GRAPH, opset=opset)
        seconds[component.name] = time.perf_counter() - started
    report("parity", len(components))
    started = time.perf_counter()
    checked = check_parity(
        torch_components(pipeline, sampler=sampler),
        _written(folder, sampler),
        prompts=prompts,
        settings=settings,
        on_progress=lambda stage, done, _: report(stage, len(components) + done),
    )
    seconds["parity"] = time.perf_counter() - started
    report("done", total)
    return _record(folder, opset, seconds, nodes, checked)


def _written(folder: Path, sampler: SamplerSettings) -> Components:
    """The engines that were just written. Raises ExportError."""
    try:
        return onnx_components(folder, sampler=sampler)
    except PruneguardError as error:
        raise ExportError(f"the exported engines: {error}") from error


def _record(
    folder: Path, opset: int, seconds: dict[str, float], nodes: dict[str, int], parity: ParityReport
) -> ExportRecord:
    return ExportRecord(
        opset=opset,
        files={str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)},
        seconds={name: round(value, 3) for name, value in seconds.items()},
        nodes=nodes,
        parity=parity.to_dict(),
        measurements=parity.measurements(),
        versions=versions(PACKAGES),
    )


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `target` on success. Raises ExportError."""
    _check_replaceable(target)
    try:
        with folder_aside(target, check=lambda: _check_replaceable(target)) as folder:
            yield folder
    except OSError as error:
        raise ExportError(write_failure(error, target)) from error


def _check_replaceable(target: Path) -> None:
    """Raises ExportError unless `target` is absent, empty or an earlier export."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} is a file or a link; choose another folder")
    if target.is_dir() and any(target.iterdir()) and not (target / "unet" / GRAPH).is_file():
        raise ExportError(f"{target} holds something that is not an export, which was kept; choose another folder")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
