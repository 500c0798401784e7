"""Pictures as arrays and as tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pictures(tensor: Tensor) -> NDArray[np.uint8]:
    """(N, 3, H, W), clipped to [-1, 1], to (N, H, W, 3) uint8."""
    pixels: NDArray[np.uint8] = ((tensor.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels
