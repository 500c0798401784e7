from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.latency import Subjects, image_calls, measurements, show, stage_times
from benchmarks.plot import draw_latency
from pruneguard.measurement import Protocol, find
from pruneguard.models import Pipeline
from pruneguard.runtime import torch_components
from pruneguard.settings import plain

CALLS = {"dense": [10.0, 20.0, 40.0], "pruned": [6.0, 12.0, 24.0], "erased": [6.0, 12.0, 48.0]}
IMAGE_MS = [211.0, 230.0, 253.0]
STAGES = {"text_encoder_ms": 2.0, "unet_ms": 200.0, "vae_decoder_ms": 20.0, "unet_calls": 26.0, "rest_ms": 5.0}
IMAGES = ("diffusers_dense", "diffusers_erased", "engine_dense", "engine_erased")


@pytest.fixture
def results() -> dict[str, Any]:
    """Results as the benchmark writes them."""
    return {
        "threads": 2,
        "settings": {"rounds": 3, "images": 3, "steps": 25, "guidance_scale": 7.5},
        "unet_macs": {"dense": 100, "erased": 58, "ratio": 0.58},
        "measurements": plain(
            [
                *measurements(CALLS, "unet torch", Protocol()),
                *measurements(CALLS, "unet onnxruntime", Protocol()),
                *measurements(dict.fromkeys(IMAGES, IMAGE_MS), "image", Protocol()),
            ]
        ),
        "stages": {"dense": STAGES, "erased": STAGES},
    }


def test_ratios_are_of_rounds_and_have_the_names_of_their_calls() -> None:
    found = measurements(CALLS, "unet torch", Protocol(settings={"threads": 2}))
    shown = {entry.name: (entry.value, entry.low, entry.high) for entry in found if entry.unit == "ratio"}
    assert shown == {
        "unet torch/pruned to dense": (0.6, 0.6, 0.6),
        "unet torch/erased to dense": pytest.approx((0.6, 0.6, 0.9)),
        "unet torch/erased to pruned": pytest.approx((1.0, 1.0, 1.5)),
    }
    dense = find(found, "unet torch/dense")
    assert dense is not None
    assert (dense.value, dense.unit, dense.protocol.settings) == (20.0, "ms", {"threads": 2})


def test_the_stages_of_an_image_add_up(tiny_pipeline: Pipeline) -> None:
    times = stage_times(torch_components(tiny_pipeline), steps=3, guidance_scale=7.5, rounds=2)
    assert times["unet_calls"] == 4  # PNDM without its Runge-Kutta steps takes one call more than it has steps
    assert min(times.values()) > 0
    assert times["unet_ms"] > times["text_encoder_ms"]


def test_images_are_drawn_by_diffusers_and_by_engines_of_both_models(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    subjects = Subjects(tiny_pipeline, tiny_pipeline, tiny_pipeline, components, components)
    calls = image_calls(subjects, steps=2, guidance_scale=7.5)
    assert tuple(calls) == IMAGES
    for call in calls.values():
        drawn: Any = call()
        assert drawn.images[0].size == (64, 64)


def test_tables_show_medians_ratios_and_stages(results: dict[str, Any]) -> None:
    console = Console(width=120, file=io.StringIO())
    show(results, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in ("unet torch, dense", "erased to pruned", "0.580", "200.0", "230.0 ms (220.5 ms to 241.5 ms)"):
        assert shown in text


def test_the_plot_is_drawn_from_what_was_written(results: dict[str, Any], tmp_path: Path) -> None:
    draw_latency(json.loads(json.dumps(results)), tmp_path / "latency.svg")
    assert (tmp_path / "latency.svg").read_text().startswith("<?xml")
    results["measurements"] = [
        entry for entry in results["measurements"] if entry["name"] != "unet torch/pruned to dense"
    ]
    with pytest.raises(KeyError, match="pruned to dense"):
        draw_latency(results, tmp_path / "latency.svg")
