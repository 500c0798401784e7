"""Initial noise from seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal noise (len(seeds), *shape), each image from its own PCG64 generator.

    A seed gives the same noise alone, in a batch, in any order, and for every engine and device.
    """
    noise = np.empty((len(seeds), *shape), dtype=np.float32)
    for row, seed in zip(noise, seeds, strict=True):
        row[...] = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)
    return noise
