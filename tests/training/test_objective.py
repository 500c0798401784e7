"""The lower level's objective on both prediction types, against diffusers' own noise and velocity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler
from torch.testing import assert_close

from pruneguard.diffusion.counters import counter_generator, shuffled_rows
from pruneguard.erasure.implicit import ImplicitSettings, SteeredRows
from pruneguard.errors import ModelError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.training.batches import LowerBatches
from pruneguard.training.objective import LowerObjective, diffusion_of
from pruneguard.training.settings import LossSettings
from tests.models import build_tiny_pipeline


@pytest.fixture(params=["v_prediction", "epsilon"])
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    return build_tiny_pipeline(request.param)


def test_loss_and_terms_by_hand(pipeline: Pipeline) -> None:
    data, empty = from_atelier(pipeline, 6, seed=0), pipeline.encode_text([""])
    batches = LowerBatches(data, diffusion_of(pipeline), empty, batch_size=4, caption_dropout=0.0, seed=3)
    batch = batches.batch(2)
    assert batch.noisy.shape == batch.target.shape == (4, 4, 16, 16)

    clean = data.latents(shuffled_rows(len(data), 8, 12, 3, "order"))
    noise = torch.randn(clean.shape, generator=counter_generator(3, "lower", 2))
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    assert_close(batch.noisy, scheduler.add_noise(clean, noise, batch.timesteps), rtol=1e-4, atol=1e-5)
    wanted = noise
    if pipeline.prediction_type == "v_prediction":
        wanted = scheduler.get_velocity(clean, noise, batch.timesteps)
    assert_close(batch.target, wanted, rtol=1e-4, atol=1e-5)

    teacher = build_tiny_pipeline(seed=1).unet
    with torch.no_grad():
        terms = LowerObjective(teacher, batches, LossSettings()).terms(pipeline.unet, batch)
        predicted = pipeline.unet(batch.noisy, batch.timesteps, batch.text).sample
        taught = teacher(batch.noisy, batch.timesteps, batch.text).sample
    squared = scheduler.alphas_cumprod[batch.timesteps]
    ratio = squared / (1 - squared)
    shifted = ratio if pipeline.prediction_type == "epsilon" else ratio + 1
    capped = shifted.clamp(max=5) / shifted
    assert_close(terms["ddpm"], (capped * (predicted - wanted).square().mean((1, 2, 3))).mean(), rtol=1e-4, atol=0)
    assert_close(terms["output_kd"], (predicted - taught).square().mean(), rtol=1e-4, atol=0)
    assert_close(terms["loss"], terms["ddpm"] + 2.0 * terms["output_kd"] + 0.1 * terms["feature_kd"])


def test_a_term_without_a_weight_is_not_computed(pipeline: Pipeline) -> None:
    data, empty = from_atelier(pipeline, 2, seed=0), pipeline.encode_text([""])
    batches = LowerBatches(data, diffusion_of(pipeline), empty, batch_size=2, caption_dropout=1.0, seed=0)
    batch = batches.batch(0)
    assert torch.equal(batch.text, empty.expand(2, -1, -1))  # every caption was dropped
    settings = LossSettings(output_kd=0, feature_kd=0)
    terms = LowerObjective(torch.nn.Identity(), batches, settings).terms(pipeline.unet, batch)  # the teacher cannot run
    assert set(terms) == {"loss", "ddpm"}
    assert torch.equal(terms["loss"], terms["ddpm"])


def test_a_caption_that_calls_up_two_concepts_is_steered_away_from_their_mean(pipeline: Pipeline) -> None:
    data, empty = from_atelier(pipeline, 2, seed=0), pipeline.encode_text([""])
    batches = LowerBatches(data, diffusion_of(pipeline), empty, batch_size=2, caption_dropout=0.0, seed=0)
    named = pipeline.encode_text(["a star", "a disc in glow style"])
    batch = replace(batches.batch(0), steered=SteeredRows(torch.tensor([1, 1]), named))
    teacher, settings = build_tiny_pipeline(seed=1).unet, LossSettings(ddpm=0, feature_kd=0)
    with torch.no_grad():
        implicit = ImplicitSettings(lower_strength=0.5)
        terms = LowerObjective(teacher, batches, settings, implicit).terms(pipeline.unet, batch)
        predicted = pipeline.unet(batch.noisy, batch.timesteps, batch.text).sample
        wanted = teacher(batch.noisy, batch.timesteps, batch.text).sample
        called = teacher(batch.noisy[[1, 1]], batch.timesteps[[1, 1]], named).sample
    wanted[1] += 0.5 * (wanted[1] - called.mean(0))
    assert_close(terms["output_kd"], (predicted - wanted).square().mean(), rtol=1e-4, atol=0)


def test_a_prediction_type_without_a_known_target_is_refused(pipeline: Pipeline) -> None:
    pipeline.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(ModelError, match="tiny predicts 'sample'; choose a model that predicts epsilon or v"):
        diffusion_of(pipeline)
