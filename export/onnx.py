"""A pipeline's engines as ONNX: written aside, measured against their source, and only then put in place."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.errors import ExportError
from pruneguard.staging import NO_SPACE, locked, open_staging, swap_in, sync_tree
from pruneguard.versions import versions

from .components import components_of
from .graph import check_opset, write_graph
from .layout import GRAPH, write_layout
from .parity import ParitySettings, check_parity

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Progress = Callable[[str, int, int], None]
PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """What an export wrote and measured; all of it is JSON by `to_dict`.

    files: path inside the folder -> size in bytes
    seconds, nodes: component -> wall time of its export, nodes of its graph; seconds also has "parity"
    """

    opset: int
    files: dict[str, int]
    seconds: dict[str, float]
    nodes: dict[str, int]
    parity: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def export_onnx(
    pipeline: Pipeline,
    folder: Path,
    *,
    opset: int = 20,
    prompts: Sequence[str] | None = None,
    parity: ParitySettings | None = None,
    on_progress: Progress | None = None,
) -> ExportRecord:
    """Writes `folder` in the layout of optimum's ONNX pipelines, and keeps it only if it agrees with `pipeline`.

    As `write_onnx`, and an earlier export at `folder` is replaced in one step; after an error, or a killed process,
    what was there is still there. Raises ExportError.
    """
    target = Path(folder).absolute()
    with _staged(target) as staging:
        return write_onnx(pipeline, staging, opset=opset, prompts=prompts, parity=parity, on_progress=on_progress)


def write_onnx(
    pipeline: Pipeline,
    folder: Path,
    *,
    opset: int = 20,
    prompts: Sequence[str] | None = None,
    parity: ParitySettings | None = None,
    on_progress: Progress | None = None,
) -> ExportRecord:
    """Writes the engines straight into an empty `folder`, for a caller that stages its own: a bundle's draft.

    `prompts` are ones that the model knows, for the parity check. `on_progress(stage, done, total)` is called as each
    stage begins and once at the end. Raises ExportError, which leaves half an export behind.
    """
    check_opset(opset)
    components = components_of(pipeline)
    stages = [*(component.name for component in components), "parity", "images", "done"]
    seconds: dict[str, float] = {}
    nodes: dict[str, int] = {}

    def begin(stage: str) -> None:
        if on_progress is not None:
            on_progress(stage, stages.index(stage), len(stages) - 1)

    write_layout(pipeline, folder)
    for component in components:
        begin(component.name)
        started = time.perf_counter()
        nodes[component.name] = write_graph(component, folder / component.name / GRAPH, opset=opset)
        seconds[component.name] = time.perf_counter() - started
    begin("parity")
    started = time.perf_counter()
    report = check_parity(pipeline, folder, prompts=prompts, settings=parity, on_images=lambda: begin("images"))
    seconds["parity"] = time.perf_counter() - started
    files = {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)}
    begin("done")
    return ExportRecord(
        opset=opset,
        files=files,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        nodes=nodes,
        parity=report.to_dict(),
        versions=versions(PACKAGES),
    )


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is removed when it does not."""
    with _explained(target):
        _check_replaceable(target)
        staging, descriptor = open_staging(target)
    try:
        with _explained(target):
            yield staging
            sync_tree(staging)
            with locked(target.parent):
                _check_replaceable(target)
                swap_in(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(descriptor)


def _check_replaceable(target: Path) -> None:
    """Only an earlier export or an empty folder is ever replaced."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} is a file or a link; choose another folder")
    if target.is_dir() and any(target.iterdir()) and not (target / "unet" / GRAPH).is_file():
        raise ExportError(f"{target} holds something that is not an export, which was kept; choose another folder")


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "free space on it" if error.errno in NO_SPACE else "check its permissions or choose another folder"
        raise ExportError(f"{target} cannot be written ({error.strerror or error}); {remedy}") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
