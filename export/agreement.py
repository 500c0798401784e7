"""The difference between a candidate's output and its reference's, and its limits."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError

PSNR_CEILING = 100.0


@dataclass(frozen=True, kw_only=True)
class ParityLimits:
    """The largest differences allowed to an engine in float32; correct engines differ by about 1e-6.

    max_abs: largest |difference|, relative to the reference's largest magnitude if that exceeds 1
    relative_l2: |difference|_2 / |reference|_2
    cosine: smallest cosine between the two, flattened
    psnr_db: smallest PSNR between the images of one seed, after the whole sampling
    """

    max_abs: float = 1e-3
    relative_l2: float = 1e-4
    cosine: float = 0.999999
    psnr_db: float = 40.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise ConfigError(f"parity limit {field.name} must be a finite positive number, not {value!r}")
        if self.cosine > 1:
            raise ConfigError(f"parity limit cosine must be at most 1, not {self.cosine!r}")


@dataclass(frozen=True)
class Agreement:
    """One output of one component on one input, reference against candidate.

    `finite` is false if a value of either is not finite, or if their shapes differ.
    """

    component: str
    output: str
    case: str
    finite: bool
    max_abs: float
    peak: float
    relative_l2: float
    cosine: float

    def complaint(self, limits: ParityLimits) -> str | None:
        """The first limit that is exceeded, in one line; None if all hold."""
        where = f"{self.component} {self.output} ({self.case})"
        if not self.finite:
            return f"{where}: values that are not finite"
        if self.max_abs > (bound := limits.max_abs * max(1.0, self.peak)):
            return f"{where}: max-abs difference {self.max_abs:.3g} is above {bound:.3g}"
        if self.relative_l2 > limits.relative_l2:
            return f"{where}: relative L2 difference {self.relative_l2:.3g} is above {limits.relative_l2:.3g}"
        if self.cosine < limits.cosine:
            return f"{where}: cosine {self.cosine:.6f} is below {limits.cosine:.6f}"
        return None


def measure(component: str, output: str, case: str, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
    """Compares two arrays of one shape in float64. Different shapes and empty arrays count as not finite."""
    comparable = reference.shape == candidate.shape and reference.size > 0
    if not comparable or not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        return Agreement(component, output, case, False, 0.0, 0.0, 0.0, 0.0)
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    difference, norm_a, norm_b = np.abs(a - b), float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == 0.0 or norm_b == 0.0:
        relative, cosine = (0.0, 1.0) if norm_a == norm_b else (1.0, 0.0)
    else:
        relative, cosine = float(np.linalg.norm(difference)) / norm_a, float(a @ b) / (norm_a * norm_b)
    peak = float(np.abs(a).max())
    return Agreement(component, output, case, True, float(difference.max()), peak, relative, min(cosine, 1.0))


def psnr(reference: NDArray[np.uint8], candidate: NDArray[np.uint8]) -> float:
    """PSNR in dB of two 8-bit images, 20 log10(255) - 10 log10(MSE), at most 100, which stands for equal images."""
    error = float(np.mean((reference.astype(np.float64) - candidate.astype(np.float64)) ** 2))
    return PSNR_CEILING if error == 0.0 else min(PSNR_CEILING, 20 * math.log10(255) - 10 * math.log10(error))
