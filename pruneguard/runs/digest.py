"""Short names for what went into a run: digests of settings and fingerprints of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

_SAMPLES = 512


def digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of values as canonical JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint(module: nn.Module) -> str:
    """A digest of names, shapes and evenly spaced samples of all weights.

    It tells two models apart quickly at any size. It is no protection against tampering; a bundle's digests are.
    """
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // _SAMPLES)].cpu().double().contiguous()  # not every device has float64
        digest.update(f"{name} {tuple(tensor.shape)} ".encode() + sample.numpy().tobytes())
    return digest.hexdigest()
