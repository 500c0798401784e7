"""One component as one ONNX file."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pruneguard.errors import ExportError

from .components import Component

OPSETS = (20, 21, 22, 23)
SINGLE_FILE_BYTES = 2_000_000_000  # protobuf's limit is 2 GiB with the graph; beyond it weights go to a second file


def check_opset(opset: int) -> int:
    """Raises ExportError outside 20..23.

    At 17 the exporter silently saves an invalid model, 18 and 19 lack the Gelu operator, and no opset above 23 has been
    tested with every engine.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported; choose one of {', '.join(map(str, OPSETS))} (default 20)")
    return opset


def write_graph(component: Component, path: Path, *, opset: int = 20) -> int:
    """Writes `component` as an ONNX file at `path` and checks it; returns its number of nodes.

    Weights beyond 2 GB go to `model.onnx.data` beside it. The same weights give the same bytes on any machine.
    Raises ExportError for a graph that cannot be traced, or that ONNX's checker refuses.
    """
    check_opset(opset)
    onnx = _require_onnx()
    try:
        with _quietly(), _without_collector(), torch.no_grad():
            program = _trace(component, opset)
            _tidy(program.model, component)
            path.parent.mkdir(parents=True, exist_ok=True)
            program.save(path, external_data=component.parameter_bytes > SINGLE_FILE_BYTES)
            onnx.checker.check_model(str(path))
    except OSError:
        raise
    except Exception as error:  # the exporter raises whatever the traced code, the translator or the checker raised
        raise ExportError(f"{component.name} cannot be exported at opset {opset}: {_first_line(error)}") from error
    return len(program.model.graph)


def _trace(component: Component, opset: int) -> Any:
    shapes = {port.name: port.dynamic or None for port in component.inputs}
    program = torch.onnx.export(
        component.module.eval(),
        component.example(),
        dynamo=True,
        opset_version=opset,
        input_names=[port.name for port in component.inputs],
        output_names=[port.name for port in component.outputs],
        dynamic_shapes=shapes,
        verbose=False,
    )
    if program is None:
        raise ExportError("the exporter gave no program")
    return program


def _tidy(model: Any, component: Component) -> None:
    """Removes traces of the exporting machine, and names the outputs' dimensions as declared.

    The exporter writes stack traces with file paths on each node, and gives an output's height as a formula of the
    input's that holds only for the allowed sizes.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *model.graph.outputs):
        value.metadata_props.clear()
    for value, port in zip(model.graph.outputs, component.outputs, strict=True):
        value.shape = ir.Shape(port.dims)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences the exporter's warnings about its own deprecated calls and about packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Stops the garbage collector, which would spend a fifth of the tracing on millions of objects in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _require_onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401  the exporter needs it, and says so less clearly
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: pip install 'pruneguard[export]'") from error
    return onnx


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:  # torch wraps the cause in pages of advice
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
