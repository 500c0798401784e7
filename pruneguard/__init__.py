"""Pruneguard: erased pruned diffusion models, from training to a guarded engine."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # A saved pipeline names `pruneguard.PrunedUNet2DConditionModel`. Loading it lazily keeps this import free of torch.
    if name == "PrunedUNet2DConditionModel":
        from pruneguard.models import PrunedUNet2DConditionModel

        return PrunedUNet2DConditionModel
    if name == "ModelMixin":  # diffusers looks it up in a component's module to decide how to load the component
        from diffusers import ModelMixin

        return ModelMixin
    raise AttributeError(f"module 'pruneguard' has no attribute {name!r}")
