"""One value for everything that is measured, and the words in which people read it.

Audits, parity, latency and metrics give measurements; manifest, report, README and command line show them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from pruneguard.errors import ConfigError

Unit = Literal["share", "ratio", "ms", "s", "dB", "MACs", "MiB", "bytes", "count", ""]


class Protocol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a value was measured; what does not apply is left empty."""

    subject: str = ""
    """What was measured: `teacher`, `model`, or the name of an engine."""
    detector: str = ""
    backbone: str = ""
    """The network behind a metric, such as the name of a CLIP model."""
    settings: dict[str, Any] = {}
    """How pictures were drawn or calls were made: steps, guidance scale, size, space, precision, backend, provider,
    threads. `space` is the space of settings of an audit's pictures that call for the concept; without one they, and in
    any case all other pictures, have the steps, guidance scale and size that are named."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value with its interval, the number of samples, their seeds, and the protocol.

    `name` has parts joined by slashes, such as `drawn` or `kept/object`. `low` and `high` are what `interval` says,
    such as "95 % bound" or "quartiles"; a one-sided interval leaves the other end None. `seeds` are the first and the
    last one.
    """

    name: str
    value: float
    unit: Unit = ""
    low: float | None = None
    high: float | None = None
    interval: str = ""
    count: int = 0
    seeds: tuple[int, int] | None = None
    protocol: Protocol = Protocol()

    def __post_init__(self) -> None:
        """Raises ConfigError for a value or an end of the interval that is not finite."""
        for number in (self.value, self.low, self.high):
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"measurement {self.name!r} is {number}; only finite numbers are recorded")


def read_measurements(values: Iterable[Mapping[str, Any]]) -> list[Measurement]:
    """Measurements from plain values, as JSON carries them. Raises ConfigError for values that are no measurements."""
    try:
        return [msgspec.convert(dict(value), Measurement) for value in values]
    except msgspec.ValidationError as error:
        raise ConfigError(f"not a measurement: {error}") from None


def find(measurements: Iterable[Measurement], name: str) -> Measurement | None:
    """The measurement of that name, or None."""
    return next((entry for entry in measurements if entry.name == name), None)


def named(measurements: Iterable[Measurement], prefix: str) -> dict[str, Measurement]:
    """The measurements below a prefix by the rest of their names: `kept` gives `kept/object` as `object`."""
    start = f"{prefix}/"
    return {entry.name.removeprefix(start): entry for entry in measurements if entry.name.startswith(start)}


def show_value(value: float, unit: Unit) -> str:
    """A number in its unit, as people read it."""
    match unit:
        case "share":
            return f"{value:.1%}"
        case "ratio":
            return f"{value:.3f}"
        case "ms" | "s" | "dB" | "MiB":
            return f"{value:.1f} {unit}"
        case "MACs":
            return f"{value / 1e9:.3f} GMACs"
        case "bytes":
            return f"{value / 1e6:.1f} MB" if abs(value) >= 1e5 else f"{value:,.0f} bytes"
        case "count":
            return f"{value:.0f}"
    return f"{value:.4g}"


def show(measurement: Measurement) -> str:
    """The value and its interval: "1.6% (at most 7.2%)" or "12.0 ms (11.5 ms to 12.9 ms)"."""
    text = show_value(measurement.value, measurement.unit)
    low, high = (
        None if end is None else show_value(end, measurement.unit) for end in (measurement.low, measurement.high)
    )
    if low is not None and high is not None:
        return f"{text} ({low} to {high})"
    if high is not None:
        return f"{text} (at most {high})"
    return f"{text} (at least {low})" if low is not None else text


def table(rows: Mapping[str, Sequence[Measurement]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells for measurements of several subjects: one row a subject, one column a name, "–" where absent."""
    names = list(dict.fromkeys(entry.name for entries in rows.values() for entry in entries))
    cells = []
    for subject, entries in rows.items():
        by_name = {entry.name: show(entry) for entry in entries}
        cells.append([subject, *(by_name.get(name, "–") for name in names)])
    return ["", *(name.replace("/", " ") for name in names)], cells
