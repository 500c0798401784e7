"""The demo's HTML report: one file with its pictures and plots inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pruneguard.bundle import DRAWN, IMPLICIT, space_of
from pruneguard.measurement import Measurement, find, read_measurements, show, show_value, table
from pruneguard.staging import file_aside

SHADES = ("#5b6770", "#a3b0b8", "#c43d2b", "#e39a4f")
"""Colours of the subjects, in the order in which the numbers list them."""


def write_report(path: Path, numbers: Mapping[str, Any], grid: Path) -> None:
    """Writes the page for `numbers` (the content of demo.json) and the picture grid; replaces `path` atomically.

    Every table and plot has the measurements that are there, under their own names. Raises KeyError or jinja2's
    UndefinedError for a missing number, and ConfigError for an entry that is no measurement.
    """
    from jinja2 import Environment, StrictUndefined

    audits = {name: read_measurements(entries) for name, entries in numbers["audits"].items()}
    latency = read_measurements(numbers["latency"]["measurements"])
    source = resources.files("pruneguard.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(source).render(
        numbers=numbers,
        protocol=_protocol(audits),
        space=_space(audits),
        facts=_facts(audits, numbers, latency),
        audits=table(audits),
        macs=[(name, show_value(numbers["unet_macs"][name], "MACs")) for name in ("dense", "erased")],
        latency=[(entry.name.replace("/", ": "), show(entry)) for entry in latency],
        detectors=sorted({entry.protocol.detector for entries in audits.values() for entry in entries} - {""}),
        psnr=show_value(_value(read_measurements(numbers["parity"]), "parity/images/psnr"), "dB"),
        grid=base64.b64encode(grid.read_bytes()).decode(),
        rates=_rates_plot(audits),
        speed=_speed_plot(numbers["unet_macs"]["ratio"], latency),
    )
    with file_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _facts(
    audits: Mapping[str, Sequence[Measurement]], numbers: Mapping[str, Any], latency: Sequence[Measurement]
) -> list[tuple[str, str]]:
    """The figures at the head of the page, each with its caption."""
    first, last = (_value(audits[name], "drawn") for name in ("teacher", "engine"))
    implicit = [find(audits[name], IMPLICIT) for name in ("teacher", "engine")]
    rates = " → ".join(f"{rate.value:.1%}" for rate in implicit if rate is not None)
    unnamed = [(rates, "of pictures of prompts that do not name it show it: dense model → served engine")]
    image, call = _value(latency, "image/engine to diffusers"), _value(latency, "unet/erased to pruned")
    return [
        (f"{first:.1%} → {last:.1%}", "of pictures that name it show it: dense model → served engine"),
        *(unnamed if rates else []),
        (f"{numbers['unet_macs']['ratio']:.1%}", "of the dense UNet's MACs"),
        (f"{image:.2f} ×", "image time of the engine, against diffusers on the dense model"),
        (f"{call:.2f} ×", "UNet time after erasing, against pruned only"),
    ]


def _protocol(audits: Mapping[str, Sequence[Measurement]]) -> str:
    """The audits' own steps and guidance scale, from the first audit."""
    settings = _settings(audits)
    names = [name for name in ("steps", "guidance_scale") if name in settings]
    return ", ".join(f"{name.replace('_', ' ')} {settings[name]}" for name in names)


def _space(audits: Mapping[str, Sequence[Measurement]]) -> str:
    """The space of settings that the audits cover, in words."""
    space = space_of(_settings(audits))
    return space.show() if space else "settings that are not recorded"


def _settings(audits: Mapping[str, Sequence[Measurement]]) -> Mapping[str, Any]:
    drawn = find(next(iter(audits.values())), DRAWN)
    return drawn.protocol.settings if drawn else {}


def _value(measurements: Sequence[Measurement], name: str) -> float:
    found = find(measurements, name)
    if found is None:
        raise KeyError(name)
    return found.value


def _rates_plot(audits: Mapping[str, Sequence[Measurement]]) -> str:
    """Every measured share, one group of bars a name and one bar a subject."""
    shares = {subject: {m.name: m.value for m in entries if m.unit == "share"} for subject, entries in audits.items()}
    names = list(dict.fromkeys(name for values in shares.values() for name in values))
    figure, axes = _figure(7.2, 2.7)
    width = 0.8 / len(shares)
    for index, (subject, values) in enumerate(shares.items()):
        places = [place + (index - (len(shares) - 1) / 2) * width for place, name in enumerate(names) if name in values]
        heights = [100 * values[name] for name in names if name in values]
        bars = axes.bar(places, heights, width * 0.92, color=SHADES[index % len(SHADES)], label=subject)
        axes.bar_label(bars, fmt="%.0f", fontsize=6, padding=1, color="#444")
    axes.set_xticks(range(len(names)), [name.replace("/", " ") for name in names])
    axes.set_ylim(0, 118)
    axes.set_ylabel("% of pictures")
    axes.legend(ncols=4, frameon=False, fontsize=8, loc="upper right")
    return _png(figure)


def _speed_plot(macs: float, latency: Sequence[Measurement]) -> str:
    """The ratio of MACs, and every measured ratio of times."""
    ratios = [(entry.name.replace("/", ": "), entry.value) for entry in latency if entry.unit == "ratio"]
    rows = [*reversed(ratios), ("UNet MACs", macs)]
    figure, axes = _figure(7.2, 1.9)
    bars = axes.barh([name for name, _ in rows], [value for _, value in rows], 0.6, color="#c43d2b")
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=3, color="#444")
    axes.axvline(1.0, color="#5b6770", linewidth=1, linestyle=":")
    axes.set_xlim(0, max(1.15, *(value + 0.12 for _, value in rows)))
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # the object interface needs neither global state nor a display

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, length=0)
    return figure, axes


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
