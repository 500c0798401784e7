"""Confidence bounds on a rate that was counted on few pictures."""

from __future__ import annotations

import math

CONFIDENCE = 0.95
BOUND = f"{100 * CONFIDENCE:.0f} % bound"
"""The interval of a rate whose `high` is `upper_bound`."""


def upper_bound(shown: int, count: int, confidence: float = CONFIDENCE) -> float:
    """One-sided Clopper–Pearson upper bound on the rate behind `shown` of `count` pictures.

    At that rate, `shown` pictures or fewer come up with probability 1 - `confidence`. Exact (Clopper and Pearson 1934,
    Biometrika 26), found by bisection. Raises ValueError unless 0 <= `shown` <= `count` and `count` > 0.
    """
    if not 0 <= shown <= count or not count:
        raise ValueError(f"{shown} of {count} pictures is no count")
    if shown == count:
        return 1.0
    low, high = shown / count, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(shown, count, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def lower_bound(shown: int, count: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided lower bound that belongs to `upper_bound`. Raises ValueError like it."""
    return 1 - upper_bound(count - shown, count, confidence)


def pictures_for(limit: float, confidence: float = CONFIDENCE) -> int | None:
    """How many pictures have an `upper_bound` of at most `limit` if none shows the concept.

    It solves (1 - limit)^n = 1 - confidence for n, and rounds up. None if no number is enough, because `limit` is 0.
    """
    if not 0 < limit < 1:
        return 1 if limit >= 1 else None
    return math.ceil(round(math.log(1 - confidence) / math.log1p(-limit), 9))


def _at_most(shown: int, count: int, rate: float) -> float:
    """The binomial probability of `shown` or fewer, summed in logarithms because the coefficients overflow a float."""
    if rate == 0.0:
        return 1.0
    terms = (
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(rate)
        + (count - k) * math.log1p(-rate)
        for k in range(shown + 1)
    )
    return math.fsum(math.exp(term) for term in terms)


def difference(shown: int, count: int, other_shown: int, other_count: int) -> tuple[float, float]:
    """The two-sided 95 % interval of the first rate less the second.

    Newcombe's hybrid of two Wilson intervals (1998, Statistics in Medicine 17, method 10), which holds for rates at 0
    and 1. Raises ValueError for numbers that are no count.
    """
    first, second = wilson(shown, count), wilson(other_shown, other_count)
    rate, other = shown / count, other_shown / other_count
    below = math.hypot(rate - first[0], second[1] - other)
    above = math.hypot(first[1] - rate, other - second[0])
    return rate - other - below, rate - other + above


def wilson(shown: int, count: int) -> tuple[float, float]:
    """Wilson's two-sided 95 % interval of a rate (1927). Raises ValueError for numbers that are no count."""
    if not 0 <= shown <= count or not count:
        raise ValueError(f"{shown} of {count} pictures is no count")
    z, rate = 1.959963984540054, shown / count
    centre = rate + z * z / (2 * count)
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
