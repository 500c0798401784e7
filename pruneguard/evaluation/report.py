"""The demo's HTML report: one file, pictures and plots inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pruneguard.staging import file_aside

SUBJECTS = ("teacher", "distilled", "erased", "engine")
MEASURES = (("target", "concept drawn"), ("object", "object kept"), ("style", "style kept"), ("colour", "colour kept"))
SHADES = {"teacher": "#5b6770", "distilled": "#a3b0b8", "erased": "#c43d2b", "engine": "#e39a4f"}


def write_report(path: Path, numbers: Mapping[str, Any], grid: Path) -> None:
    """Render `numbers` (as in demo.json) and the picture grid; written aside and renamed."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("pruneguard.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    page = environment.from_string(source).render(
        numbers=numbers,
        subjects=SUBJECTS,
        grid=base64.b64encode(grid.read_bytes()).decode(),
        rates=_rates_plot(numbers),
        speed=_speed_plot(numbers),
    )
    with file_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _rates_plot(numbers: Mapping[str, Any]) -> str:
    figure, axes = _figure(7.2, 2.7)
    width = 0.2
    for index, subject in enumerate(SUBJECTS):
        record = numbers[subject]
        values = [record["target_rate"], *(record["preserved"].get(name, 0.0) for name, _ in MEASURES[1:])]
        places = [place + (index - 1.5) * width for place in range(len(MEASURES))]
        bars = axes.bar(places, [100 * value for value in values], width * 0.92, color=SHADES[subject], label=subject)
        axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1, color="#444")
    axes.set_xticks(range(len(MEASURES)), [label for _, label in MEASURES])
    axes.set_ylim(0, 118)
    axes.set_ylabel("% of pictures")
    axes.legend(ncols=4, frameon=False, fontsize=8, loc="upper right")
    return _png(figure)


def _speed_plot(numbers: Mapping[str, Any]) -> str:
    latency, macs = numbers["latency"], numbers["unet_macs"]
    rows = [
        ("UNet MACs", macs["ratio"]),
        ("UNet call, erased / dense", latency["erased_to_dense"][0]),
        ("UNet call, erased / pruned", latency["erased_to_pruned"][0]),
        ("image, engine / diffusers", latency["engine_to_diffusers"][0]),
    ]
    figure, axes = _figure(7.2, 1.9)
    bars = axes.barh([name for name, _ in reversed(rows)], [value for _, value in reversed(rows)], 0.6, color="#c43d2b")
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=3, color="#444")
    axes.axvline(1.0, color="#5b6770", linewidth=1, linestyle=":")
    axes.set_xlim(0, max(1.15, *(value + 0.12 for _, value in rows)))
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # the object interface: no global state and no display

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, length=0)
    return figure, axes


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
