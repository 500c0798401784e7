"""Pruneguard: erased pruned diffusion models, from training to a guarded engine."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # A saved pipeline names `pruneguard.PrunedUNet2DConditionModel`; resolved lazily, this import stays free of torch.
    if name == "PrunedUNet2DConditionModel":
        from pruneguard.models import PrunedUNet2DConditionModel

        return PrunedUNet2DConditionModel
    if name == "ModelMixin":  # diffusers looks for it beside a component's class to learn how that class is loaded
        from diffusers import ModelMixin

        return ModelMixin
    raise AttributeError(f"module 'pruneguard' has no attribute {name!r}")
