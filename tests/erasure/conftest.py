"""What erasers are tried on: an erasure of one concept from the tiny model."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from pruneguard.concepts import Concept
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure import ErasureSettings, ErasureTask, SourceSettings
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline


@pytest.fixture
def task(tiny_pipeline: Pipeline, tmp_path: Path) -> ErasureTask:
    glow = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc",), terms=("glow",))
    settings = ErasureSettings(batch_size=4, images=2, steps=2, source=SourceSettings(kind="noised"))
    return ErasureTask(
        student=copy.deepcopy(tiny_pipeline.unet),
        teacher=tiny_pipeline,
        concepts=(glow,),
        data=from_atelier(tiny_pipeline, 2, seed=0),
        diffusion=Diffusion(tiny_pipeline.scheduler.alphas_cumprod, "v_prediction"),
        settings=settings,
        seed=0,
        folder=tmp_path,
    )
