"""The memory that an export says its engines need, against what their calls take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from pruneguard.export.components import Decoding, Prediction
from pruneguard.export.memory import SMALLEST, demand_of, footprint_of, memory_measurements, peak_bytes
from pruneguard.runtime.sampling.memory import STABLE_DIFFUSION, Demand, Footprint
from tests.models import CONFIGURATIONS, build_real_unet

ROOT = Path(__file__).parents[2]


class Squares(nn.Module):
    """Two arrays of the input's size at once, and then a matrix of all pairs of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, sample: Tensor) -> Tensor:
        doubled = 2 * sample * self.weight.view(1)
        del sample
        rows = doubled.flatten()
        return (rows[:, None] * rows[None]).sum()


def test_peaks_count_what_exists_at_once_and_neither_weights_nor_inputs() -> None:
    # The doubled sample, the matrix and its sum exist at once; the first product is gone by then.
    assert peak_bytes(Squares(), torch.empty(4, device="meta")) == 4 * (4 + 16 + 1)
    assert peak_bytes(nn.ReLU(), torch.empty(1000, device="meta")) == 4000
    assert peak_bytes(nn.Sequential(*[nn.ReLU() for _ in range(9)]), torch.empty(1000, device="meta")) == 8000
    assert peak_bytes(nn.Flatten(), torch.empty(10, 10, device="meta")) == 0


def test_a_demand_bounds_every_size_between_the_two_that_were_computed(exported: Any) -> None:
    found = footprint_of(exported.pipeline)
    text = torch.empty(1, 32, 16, device="meta")
    for side in (SMALLEST, 16, 32, 64, 128, 256):
        sample = torch.empty(1, 4, side, side, device="meta")
        unet = peak_bytes(Prediction(exported.pipeline.unet), sample, torch.empty(1, device="meta"), text)
        decoder = peak_bytes(Decoding(exported.pipeline.vae), sample)
        assert 1.4 * unet <= found.unet.bytes(1, side * side) <= 4.5 * unet
        assert 1.4 * decoder <= found.vae_decoder.bytes(1, side * side) <= 4.5 * decoder


def test_the_record_carries_it(exported: Any) -> None:
    footprint = footprint_of(exported.pipeline)
    entries = memory_measurements(footprint)
    assert [entry.name for entry in entries] == [
        "memory/unet/linear",
        "memory/unet/quadratic",
        "memory/vae_decoder/linear",
        "memory/vae_decoder/quadratic",
    ]
    assert {entry.unit for entry in entries} == {"bytes"}
    assert Footprint.read(entries) == footprint


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from Linux' /proc"
)
@pytest.mark.parametrize(("rows", "side"), [(16, 64), (2, 128)])
def test_calls_take_at_most_what_is_predicted_and_at_least_a_third(exported: Any, rows: int, side: int) -> None:
    footprint = footprint_of(exported.pipeline)
    program = (sys.executable, "-m", "tests.runtime.demand_run", str(exported.folder), str(rows), str(side))
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    unet, decoder = map(int, done.stdout.split())
    assert unet <= footprint.unet.bytes(rows, side * side) <= 3 * unet
    assert decoder <= footprint.vae_decoder.bytes(rows, side * side) <= 3 * decoder


def test_the_footprint_of_stable_diffusion_is_the_computed_one() -> None:
    unet = build_real_unet("sd14")
    config = CONFIGURATIONS / "sd14" / "vae" / "config.json"
    if not config.is_file():
        pytest.skip(f"no configuration of the VAE at {config}")
    with torch.device("meta"):
        decoder = AutoencoderKL.from_config(json.loads(config.read_text()))
    assert isinstance(unet, UNet2DConditionModel)
    text = torch.empty(1, 77, 768, device="meta")
    found = demand_of(Prediction(unet), 4, torch.empty(1, device="meta"), text)
    _close(found, STABLE_DIFFUSION.unet)
    _close(demand_of(Decoding(decoder), 4), STABLE_DIFFUSION.vae_decoder)


def _close(found: Demand, kept: Demand) -> None:
    assert found.linear <= kept.linear <= 1.05 * found.linear
    assert found.quadratic <= kept.quadratic <= 1.05 * found.quadratic
