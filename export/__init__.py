"""Exported engines: a pipeline's components as ONNX graphs, measured against their source before they are kept."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "pruneguard.export":
    raise ImportError("import pruneguard.export, not the folder it lives in")

if TYPE_CHECKING:
    from .agreement import Agreement, ParityLimits
    from .layout import sampler_settings
    from .onnx import ExportRecord, Progress, export_onnx, write_onnx
    from .parity import ParityReport, ParitySettings, check_parity

__all__ = [
    "Agreement",
    "ExportRecord",
    "ParityLimits",
    "ParityReport",
    "ParitySettings",
    "Progress",
    "check_parity",
    "export_onnx",
    "sampler_settings",
    "write_onnx",
]

# Resolved on first use, so that importing the package loads neither torch nor onnx.
_HOMES = {
    "Agreement": "agreement",
    "ExportRecord": "onnx",
    "ParityLimits": "agreement",
    "ParityReport": "parity",
    "ParitySettings": "parity",
    "Progress": "onnx",
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
