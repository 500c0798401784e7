"""Parity of any two sets of engines: what it measures, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pruneguard.errors import ExportError
from pruneguard.export import ParitySettings, check_parity
from pruneguard.export.cases import cases_of, count_cases
from pruneguard.measurement import find
from pruneguard.models import Pipeline
from pruneguard.runtime import Components, Engine, torch_components

BRIEF = ParitySettings(steps=3, timesteps=2, images=1, batches=(1, 3))


@dataclass(frozen=True)
class Changed:
    """An engine whose inputs or outputs are changed on the way."""

    engine: Engine
    before: Callable[[dict[str, Any]], dict[str, Any]] = dict
    after: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def run(self, inputs: dict[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        return self.after(self.engine.run(self.before(inputs), outputs))

    def describe(self) -> dict[str, Any]:
        return self.engine.describe()


@pytest.fixture
def reference(tiny_pipeline: Pipeline) -> Components:
    return torch_components(tiny_pipeline)


def test_a_model_agrees_with_itself(reference: Components) -> None:
    seen: list[tuple[str, int, int]] = []
    report = check_parity(reference, reference, settings=BRIEF, on_progress=lambda *step: seen.append(step))
    assert {agreement.max_abs for agreement in report.agreements} == {0.0}
    names = [measurement.name for measurement in report.measurements()]
    assert names == [
        *(f"parity/{part}/{what}" for part in ("text_encoder", "unet", "vae_decoder") for what in WHAT),
        "parity/images/psnr",
    ]
    worst = find(report.measurements(), "parity/images/psnr")
    assert worst is not None and (worst.value, worst.unit, worst.count) == (100.0, "dB", 1)
    total = BRIEF.count_units(reference.sampler)
    assert seen == [("parity" if n <= total - 4 else "images", n, total) for n in range(1, total + 1)]


WHAT = ("max_abs", "relative_l2", "cosine")


def test_the_worst_case_is_what_is_measured(reference: Components) -> None:
    unet, calls = reference.unet, [0]

    def drift(outputs: dict[str, Any]) -> dict[str, Any]:
        calls[0] += 1
        return {"out_sample": outputs["out_sample"] * np.float32(1 + 1e-5 * (calls[0] == 2))}

    report = check_parity(reference, replace(reference, unet=Changed(unet, after=drift)), settings=BRIEF)
    worst = find(report.measurements(), "parity/unet/relative_l2")
    assert worst is not None and worst.value == pytest.approx(1e-5, rel=0.1) and worst.count == 5


def test_an_engine_that_takes_one_timestep_for_all_rows_is_caught(reference: Components) -> None:
    def first(inputs: dict[str, Any]) -> dict[str, Any]:
        return {**inputs, "timestep": np.full_like(inputs["timestep"], inputs["timestep"][0])}

    with pytest.raises(ExportError, match=r"^unet out_sample \(batch 3, timesteps 667 334 1, latents 16x16\): "):
        check_parity(reference, replace(reference, unet=Changed(reference.unet, before=first)), settings=BRIEF)


def test_an_output_that_is_missing_is_named(reference: Components) -> None:
    def without(outputs: dict[str, Any]) -> dict[str, Any]:
        return {}

    engines = replace(reference, text_encoder=Changed(reference.text_encoder, after=without))
    with pytest.raises(ExportError, match="text_encoder has no output last_hidden_state; the engines are refused"):
        check_parity(reference, engines, settings=BRIEF)


def test_images_that_disagree_are_refused(reference: Components) -> None:
    engines = replace(reference, sampler=replace(reference.sampler, scaling_factor=0.3))
    with pytest.raises(ExportError, match=r"images after 3 steps: PSNR [\d.]+ dB .* is below 40\.0 dB"):
        check_parity(reference, engines, settings=BRIEF)


def test_a_model_with_runge_kutta_steps_can_be_compared(reference: Components) -> None:
    scheduler = {**reference.sampler.scheduler, "skip_prk_steps": False}
    warm = replace(reference, sampler=replace(reference.sampler, scheduler=scheduler))
    report = check_parity(warm, warm, settings=replace(BRIEF, steps=4))
    assert report.psnr_db == (100.0,)


@pytest.mark.parametrize("timesteps", [1, 6, 40])
@pytest.mark.parametrize("batches", [(1,), (1, 2, 3), (8, 2)])
def test_cases_are_counted_before_they_are_made(timesteps: int, batches: tuple[int, ...]) -> None:
    def call(name: str, number: int) -> dict[str, Any]:
        if name == "text_encoder":
            return {"input_ids": np.zeros((2, 16), np.int64)}
        if name == "vae_decoder":
            return {"latent_sample": np.zeros((1, 4, 8, 8), np.float32)}
        sample, states = np.zeros((2, 4, 8, 8), np.float32), np.zeros((2, 16, 8), np.float32)
        return {"sample": sample, "timestep": np.full(2, number, np.float32), "encoder_hidden_states": states}

    calls = {"text_encoder": 2, "unet": 26, "vae_decoder": 1}
    recorded = {name: [call(name, number) for number in range(count)] for name, count in calls.items()}
    cases = cases_of(recorded, recorded, timesteps=timesteps, batches=batches)
    assert len(cases) == count_cases(timesteps=timesteps, calls=26, batches=batches)
    mixed = next(case for case in cases if "timesteps" in case.text)
    assert len(set(mixed.inputs["timestep"])) == max(2, *batches, 0)
