from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruneguard.concepts import Concept
from pruneguard.erasure import ErasureSettings, SourceSettings
from pruneguard.erasure.pool import build_pool, evenly
from pruneguard.errors import DataError
from pruneguard.models import Pipeline
from pruneguard.runs.progress import Advance
from tests.models import build_tiny_pipeline

CONCEPT = Concept(
    name="glow",
    prompts=("a red disc in glow style", "a blue ring in glow style"),
    anchors=("a red disc in flat style", "a blue ring in flat style"),
    terms=("glow",),
)
SETTINGS = ErasureSettings(images=3, steps=2, partial_steps=5, partial_states=2, source=SourceSettings(kind="noised"))


@pytest.fixture(params=["v_prediction", "epsilon"])
def tiny_pipeline(request: pytest.FixtureRequest) -> Pipeline:
    """The tiny model under both prediction types, with the same weights."""
    return build_tiny_pipeline(request.param)


def test_prompts_are_spread_over_images() -> None:
    assert evenly(5, 2) == [0, 1, 0, 1, 0]
    assert evenly(4, 10) == [0, 2, 5, 7]


def test_latents_are_drawn_once_and_kept(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    seen: list[Advance] = []
    first = build_pool(tiny_pipeline, CONCEPT, SETTINGS, 0, tmp_path, seen.append)
    assert first.latents.shape == (3, 4, 16, 16)
    assert first.prompt_of.tolist() == [0, 1, 0]
    assert torch.equal(first.text, tiny_pipeline.encode_text(CONCEPT.prompts))
    assert torch.equal(first.anchor_text, tiny_pipeline.encode_text(CONCEPT.anchors))
    assert (first.timesteps, first.anchor_latents) == (None, None)
    assert seen[-1] == Advance("draw glow", 3, 3)
    seen.clear()
    again = build_pool(tiny_pipeline, CONCEPT, SETTINGS, 0, tmp_path, seen.append)
    assert torch.equal(again.latents, first.latents)
    assert not seen
    assert not torch.equal(build_pool(tiny_pipeline, CONCEPT, SETTINGS, 1, tmp_path).latents, first.latents)


def test_the_teacher_draws_by_its_own_prediction_type(tmp_path: Path) -> None:
    """The same weights read as v or as epsilon give other pictures, and one is never taken for the other."""
    for kind in ("noised", "partial"):
        settings = replace(SETTINGS, source=SourceSettings(kind=kind))
        pools = [
            build_pool(build_tiny_pipeline(name), CONCEPT, settings, 0, tmp_path)
            for name in ("v_prediction", "epsilon")
        ]
        first, second = (pool.latents for pool in pools)
        assert first.isfinite().all()
        assert second.isfinite().all()
        assert not torch.allclose(first, second, atol=0.05)


def test_partial_states_follow_ddim_by_hand(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    """With two steps and guidance 0 the second state is one DDIM step (eta 0) under the empty prompt from the first."""
    source = SourceSettings(kind="partial")
    settings = replace(SETTINGS, images=1, partial_steps=2, partial_states=2, partial_guidance_scale=0.0, source=source)
    pool = build_pool(tiny_pipeline, CONCEPT, settings, 0, tmp_path)
    assert pool.timesteps is not None
    assert pool.timesteps.tolist() == [501, 1]
    noise, state = pool.latents
    with torch.no_grad():
        empty = tiny_pipeline.encode_text([""])
        predicted = tiny_pipeline.unet(noise[None], 501, encoder_hidden_states=empty, return_dict=False)[0][0]
    alphas = tiny_pipeline.scheduler.alphas_cumprod
    alpha, sigma = alphas[501].sqrt(), (1 - alphas[501]).sqrt()
    if tiny_pipeline.prediction_type == "epsilon":
        epsilon = predicted
        clean = (noise - sigma * epsilon) / alpha
    else:
        clean, epsilon = alpha * noise - sigma * predicted, alpha * predicted + sigma * noise
    torch.testing.assert_close(state, alphas[1].sqrt() * clean + (1 - alphas[1]).sqrt() * epsilon, atol=1e-4, rtol=1e-4)


def test_mixed_with_anchors_draws_these_from_the_same_seeds(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    mixed = replace(SETTINGS, source=SourceSettings(kind="mixed", others="anchors"))
    pool = build_pool(tiny_pipeline, CONCEPT, mixed, 0, tmp_path)
    assert pool.anchor_latents is not None
    assert pool.anchor_latents.shape == pool.latents.shape
    distance = (pool.anchor_latents - pool.latents).std() / pool.latents.std()
    assert 0 < distance.item() < 0.5  # the same noise, another prompt


def test_partial_states_come_from_guided_trajectories(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    partial = replace(SETTINGS, source=SourceSettings(kind="partial"))
    pool = build_pool(tiny_pipeline, CONCEPT, partial, 0, tmp_path)
    assert pool.timesteps is not None
    assert len(pool.latents) == len(pool.timesteps) == len(pool.prompt_of) == 6
    assert set(pool.timesteps.tolist()) <= {801, 601, 401, 201, 1}
    assert pool.prompt_of.bincount().tolist() == [4, 2]
    again = build_pool(tiny_pipeline, CONCEPT, partial, 0, tmp_path)
    assert torch.equal(again.latents, pool.latents)


def test_damaged_latents_are_named(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    build_pool(tiny_pipeline, CONCEPT, SETTINGS, 0, tmp_path)
    (file,) = tmp_path.glob("concept-glow-*/latents.safetensors")
    file.write_bytes(b"")
    with pytest.raises(DataError, match="delete the folder to draw them again"):
        build_pool(tiny_pipeline, CONCEPT, SETTINGS, 0, tmp_path)
