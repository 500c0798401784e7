"""Digests of weights: every byte counts."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from pruneguard.runs.digest import fingerprint, weights_digest


def test_the_digest_is_pinned() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.bias.copy_(torch.tensor([3.0]))
    content = (
        b"bias float32 (1,)\n" + b"\x00\x00\x40\x40" + b"weight float32 (1, 2)\n" + b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    )
    assert weights_digest(layer) == hashlib.sha256(content).hexdigest()


def test_one_bit_of_one_weight_changes_it_though_a_fingerprint_may_miss_it() -> None:
    layer = nn.Linear(100, 100, bias=False)
    sampled, whole = fingerprint(layer), weights_digest(layer)
    with torch.no_grad():
        layer.weight.view(-1)[1].mul_(1 + 1e-6)
    assert fingerprint(layer) == sampled
    assert weights_digest(layer) != whole


def test_types_and_shapes_without_content_count() -> None:
    class Empty(nn.Module):
        def __init__(self, *shape: int, dtype: torch.dtype = torch.float32) -> None:
            super().__init__()
            self.register_buffer("nothing", torch.empty(shape, dtype=dtype))

    digests = {weights_digest(module) for module in (Empty(0), Empty(0, 2), Empty(0, dtype=torch.bfloat16), nn.ReLU())}
    assert len(digests) == 4
    assert weights_digest(nn.Linear(2, 2).to(torch.bfloat16)) != weights_digest(nn.Linear(2, 2))
