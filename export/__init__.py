"""Export: a pipeline's components as ONNX graphs, which are kept only if they agree with their source."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "pruneguard.export":
    raise ImportError("import pruneguard.export, not the folder it lives in")

if TYPE_CHECKING:
    from .agreement import Agreement, ParityLimits
    from .layout import sampler_settings
    from .onnx import ExportRecord, export_onnx, write_onnx
    from .parity import ParityReport, ParitySettings, Progress, check_parity
    from .target import TARGETS, Exported, Target, TargetSettings

__all__ = [
    "TARGETS",
    "Agreement",
    "ExportRecord",
    "Exported",
    "ParityLimits",
    "ParityReport",
    "ParitySettings",
    "Progress",
    "Target",
    "TargetSettings",
    "check_parity",
    "export_onnx",
    "sampler_settings",
    "write_onnx",
]

# Names are resolved on first use, so that importing the package loads neither torch nor onnx.
_HOMES = {
    "TARGETS": "target",
    "Exported": "target",
    "Target": "target",
    "TargetSettings": "target",
    "Agreement": "agreement",
    "ExportRecord": "onnx",
    "ParityLimits": "agreement",
    "ParityReport": "parity",
    "ParitySettings": "parity",
    "Progress": "parity",
    "check_parity": "parity",
    "export_onnx": "onnx",
    "sampler_settings": "layout",
    "write_onnx": "onnx",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pruneguard.export' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
