"""Digests of what went into a run: settings, weights and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_SAMPLES = 512


def digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as canonical JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint(module: nn.Module) -> str:
    """A digest of names, shapes and evenly spaced samples of all weights.

    It tells two models apart quickly at any size, as a key of caches. Lineage names weights by `weights_digest`.
    """
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // _SAMPLES)].cpu().double().contiguous()  # not every device has float64
        digest.update(f"{name} {tuple(tensor.shape)} ".encode() + sample.numpy().tobytes())
    return digest.hexdigest()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and all bytes of a module's weights, in the order of the names.

    It does not depend on the device, nor on how files divide the weights.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name} {kind} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()
