"""The target `onnx`: graphs in float32 for ONNX Runtime, in the layout that optimum's ONNX pipelines load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.bundle import EngineRecord
from pruneguard.errors import ExportError
from pruneguard.measurement import Measurement
from pruneguard.runtime.engines.backend import COMPONENTS

from ..graph import check_opset
from ..memory import footprint_of, memory_measurements
from ..onnx import write_onnx
from ..target import TARGETS, Exported, OnProgress, TargetSettings

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True, kw_only=True)
class OnnxSettings(TargetSettings):
    """`opset` is ONNX's operator set, 20 to 23. Raises ExportError for another one, and for other precisions."""

    opset: int = 20

    def __post_init__(self) -> None:
        check_opset(self.opset)
        if self.precision != "fp32":
            raise ExportError(f"target 'onnx' exports fp32, not {self.precision!r}")


@TARGETS.register("onnx", settings=OnnxSettings)
def export_to_onnx(
    pipeline: Pipeline,
    folder: Path,
    place: str,
    settings: OnnxSettings,
    *,
    prompts: Sequence[str] | None,
    on_progress: OnProgress,
) -> Exported:
    """As `Target`: writes the graphs, compares them with the pipeline, and records both."""
    record = write_onnx(pipeline, folder, opset=settings.opset, prompts=prompts, on_progress=on_progress)
    nodes = [Measurement(name=f"nodes/{name}", value=count, unit="count") for name, count in record.nodes.items()]
    engine = EngineRecord(
        target="onnx",
        backend="onnxruntime",
        precision=settings.precision,
        options={"opset": record.opset},
        components={name: f"{place}/{name}" for name in COMPONENTS},
        tokenizer=f"{place}/tokenizer",
        files=[place],
        built_with=dict(record.versions),
        parity=list(record.measurements),
        measurements=[*nodes, *memory_measurements(footprint_of(pipeline))],
    )
    return Exported(engine, record.parity)
