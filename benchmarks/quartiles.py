"""A sample as one measurement: its median, with the first and third quartile as the interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pruneguard.measurement import Measurement, Protocol, Unit

QUARTILES = "quartiles"


def median(
    name: str,
    samples: Sequence[float],
    unit: Unit = "",
    *,
    protocol: Protocol | None = None,
    seeds: tuple[int, int] | None = None,
) -> Measurement:
    """The measurement `name` of a sample that is not empty; a single value is its own quartiles."""
    values = list(samples) if len(samples) > 1 else list(samples) * 2
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Measurement(
        name=name,
        value=middle,
        unit=unit,
        low=low,
        high=high,
        interval=QUARTILES,
        count=len(samples),
        seeds=seeds,
        protocol=protocol or Protocol(),
    )


def ratio(
    name: str, numerator: Sequence[float], denominator: Sequence[float], *, protocol: Protocol | None = None
) -> Measurement:
    """The median of the ratios round by round, which cancel the drift of a machine; both samples are of one length."""
    pairs = zip(numerator, denominator, strict=True)
    return median(name, [first / second for first, second in pairs], "ratio", protocol=protocol)
