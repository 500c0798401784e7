"""Latency by interleaving: on a shared machine only ratios within one run can be trusted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Milliseconds over `runs` runs: median, and first and third quartile as spread."""

    median_ms: float
    low_ms: float
    high_ms: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def interleave(calls: Mapping[str, Callable[[], object]], *, runs: int, warmup: int = 2) -> dict[str, list[float]]:
    """Milliseconds of each call, name -> `runs` values, measured in turn: A B C, C B A, A B C, ..."""
    names = list(calls)
    for _ in range(warmup):
        for name in names:
            calls[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        for name in names if run % 2 == 0 else reversed(names):
            started = time.perf_counter()
            calls[name]()
            samples[name].append((time.perf_counter() - started) * 1e3)
    return samples


def summarise(samples: list[float]) -> Timing:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return Timing(median, low, high, len(samples))


def median_ratio(numerator: list[float], denominator: list[float]) -> tuple[float, float, float]:
    """Median and quartiles of the round-by-round ratios, which cancel a machine's drift."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    timing = summarise(ratios)
    return timing.median_ms, timing.low_ms, timing.high_ms
