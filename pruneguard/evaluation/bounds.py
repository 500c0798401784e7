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
