"""A plot of the committed latency results: the ratio of MACs beside the ratios of times.

python -m benchmarks.plot
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pruneguard.measurement import named, read_measurements

RESULTS = Path("benchmarks/results")
DENSE, PRUNED, ERASED = "#5b6770", "#a3b0b8", "#c43d2b"
TITLE: dict[str, Any] = {"fontsize": 9, "loc": "left", "color": "#333"}
STAGES = {
    "unet_ms": ("UNet", ERASED),
    "vae_decoder_ms": ("VAE", "#e39a4f"),
    "text_encoder_ms": ("text encoder", PRUNED),
    "rest_ms": ("rest", "#dcdcd6"),
}


def draw_latency(latency: Mapping[str, Any], path: Path) -> None:
    """Two panels: UNet calls relative to the dense one, with the ratio of MACs; and the stages of an image's time."""
    from matplotlib.figure import Figure  # the object interface needs neither global state nor a display

    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    calls, image = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _draw_calls(calls, latency)
    _draw_images(image, latency)
    for axes in (calls, image):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, length=0)
    figure.savefig(path)


def _draw_calls(axes: Any, latency: Mapping[str, Any]) -> None:
    """Medians of the round-by-round ratios to the dense model, with quartiles."""
    rows: list[tuple[str, float, float, float, str]] = [("MACs", latency["unet_macs"]["ratio"], 0.0, 0.0, DENSE)]
    measured = {entry.name: entry for entry in read_measurements(latency["measurements"])}
    for group, backend in (("unet torch", "torch"), ("unet onnxruntime", "ONNX Runtime")):
        for subject, shade in (("pruned", PRUNED), ("erased", ERASED)):
            found = measured[f"{group}/{subject} to dense"]
            low, high = found.low or found.value, found.high or found.value
            rows.append((f"{subject}, {backend}", found.value, found.value - low, high - found.value, shade))
    places = range(len(rows))
    axes.barh(places, [row[1] for row in rows], 0.62, color=[row[4] for row in rows])
    for place, (_, median, below, above, _) in zip(places[1:], rows[1:], strict=True):
        axes.errorbar(median, place, xerr=[[below], [above]], color="#333", linewidth=1, capsize=2)
    ends = [median + above for _, median, _, above, _ in rows]
    for place, end, row in zip(places, ends, rows, strict=True):
        axes.text(end, place, f"  {row[1]:.2f}", va="center", fontsize=8, color="#444")
    axes.axvline(1.0, color=DENSE, linewidth=1, linestyle=":")
    axes.set_yticks(places, [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.05, 1.12 * max(ends)))
    axes.set_title("guided UNet call, against the dense UNet", **TITLE)


def _draw_images(axes: Any, latency: Mapping[str, Any]) -> None:
    """Whole images by diffusers and by the engines, the latter with their stages."""
    medians = {name: entry.value for name, entry in named(read_measurements(latency["measurements"]), "image").items()}
    labels = {
        "diffusers dense": "diffusers, dense",
        "diffusers erased": "diffusers, erased",
        "engine dense": "engine, dense",
        "engine erased": "engine, erased",
    }
    longest = 0.0
    for place, name in enumerate(labels):
        backend, subject = name.split()
        end = medians[name]
        if backend == "diffusers":
            axes.barh(place, end, 0.62, color=DENSE if subject == "dense" else PRUNED)
        else:
            end = _draw_stages(axes, place, latency["stages"][subject], labelled=subject == "dense")
        axes.text(end, place, f"  {medians[name]:.0f} ms", va="center", fontsize=8, color="#444")
        longest = max(longest, end)
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * longest)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    settings = latency["settings"]
    axes.set_title(f"one image, {settings['steps']} steps, guidance {settings['guidance_scale']}", **TITLE)


def _draw_stages(axes: Any, place: int, stages: Mapping[str, float], *, labelled: bool) -> float:
    """Draws the stages of one image as a stacked bar; returns the bar's length in milliseconds."""
    left = 0.0
    for stage, (name, shade) in STAGES.items():
        axes.barh(place, stages[stage], 0.62, left=left, color=shade, label=name if labelled else None)
        left += stages[stage]
    return left


@click.command(help=__doc__)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--format", "kind", type=click.Choice(["svg", "png"]), default="svg", show_default=True)
def main(results: Path, kind: str) -> None:
    """Draw latency.json as latency.svg beside it."""
    source = results / "latency.json"
    if not source.is_file():
        raise click.ClickException(f"{source} is missing; python -m benchmarks.latency makes it")
    draw_latency(json.loads(source.read_text()), source.with_suffix(f".{kind}"))
    click.echo(str(source.with_suffix(f".{kind}")))


if __name__ == "__main__":
    main()
