from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from pruneguard.errors import ConfigError
from pruneguard.families import FAMILIES, find_family
from pruneguard.settings import Choice
from pruneguard.training import TrainSettings

ATELIER = find_family("atelier").preset


@pytest.mark.parametrize("name", FAMILIES.names())
def test_presets_survive_json(name: str) -> None:
    settings = find_family(name).preset
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_stable_diffusion_is_the_papers() -> None:
    settings = find_family("stable-diffusion").preset
    assert (settings.steps, settings.batch_size, settings.caption_dropout) == (20_000, 64, 0.1)
    assert settings.schedule == Choice("alternating", {"every": 20})
    assert (settings.lower.lr, settings.upper.lr, settings.lower.warmup, settings.upper.warmup) == (
        1e-6,
        5e-6,
        250,
        250,
    )
    losses = settings.losses
    assert (losses.ddpm, losses.output_kd, losses.feature_kd, losses.min_snr_gamma) == (1.0, 2.0, 0.1, 5.0)
    assert (losses.min_snr_form, settings.erasure.eraser) == ("official", Choice("esd", {"eta": 1.0}))


def test_a_toml_file_overrides_field_by_field() -> None:
    text = """
        steps = 10
        max_grad_norm = 1
        [lower]
        betas = [0.5, 0.9]
        [erasure.eraser]
        name = "esd"
        eta = 2
        [erasure.source.timesteps]
        t_min = 7
    """
    base = ATELIER
    settings = TrainSettings.from_dict(tomllib.loads(text), base=base)
    assert (settings.steps, settings.max_grad_norm, settings.lower.betas) == (10, 1.0, (0.5, 0.9))
    assert (settings.lower.lr, settings.batch_size) == (base.lower.lr, base.batch_size)
    assert settings.erasure.eraser == Choice("esd", {"eta": 2.0})
    assert settings.erasure.source.timesteps.t_min == 7
    assert settings.erasure.source.share == base.erasure.source.share
    assert TrainSettings.from_dict({"max_grad_norm": None}, base=base).max_grad_norm is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"step": 1}, r"training: unknown setting 'step': did you mean 'steps' or 'seed'\?"),
        ({"lower": {"rate": 1}}, r"training\.lower: unknown setting 'rate': choose from betas"),
        ({"lower": 3}, r"it must be a table, \[training\.lower\]"),
        ({"steps": "many"}, "training: `steps`: Expected `int`, got `str`"),
        ({"steps": True}, "`steps`: Expected `int`, got `bool`"),
        ({"steps": 0}, "`steps` is 0; it must be at least 1"),
        ({"batch_size": 10, "accumulation": 4}, "not a multiple of `accumulation`"),
        ({"caption_dropout": 2}, "`caption_dropout` must lie"),
        ({"precision": "fp16"}, "`precision`: Invalid enum value 'fp16'; choose from no, bf16"),
        ({"tracker": "wandb"}, "choose from auto, tensorboard, none"),
        ({"max_grad_norm": -1}, "`max_grad_norm` is -1.0; it must be above 0"),
        ({"explosion": 1}, "`explosion` must be above 1"),
        ({"losses": {"ddpm": -1}}, "`ddpm` is -1"),
        ({"losses": {"ddpm": 0, "output_kd": 0, "feature_kd": 0}}, "all weights are 0"),
        ({"losses": {"min_snr_form": "new"}}, "Invalid enum value 'new'; choose from official, diffusers"),
        ({"erasure": {"eraser": "esdd"}}, "did you mean 'esd'"),
        (
            {"erasure": {"eraser": {"name": "esd", "eat": 1}}},
            r"eraser 'esd': unknown setting 'eat': did you mean 'eta'\?",
        ),
        ({"erasure": {"eraser": []}}, r"training\.erasure\.eraser: \[\] is neither a name nor a table"),
        ({"schedule": {"evry": 2}}, r"schedule 'alternating': unknown setting 'evry': did you mean 'every'\?"),
        ({"schedule": "alternate"}, r"unknown schedule 'alternate': did you mean 'alternating'\?"),
        ({"erasure": {"parameters": "y"}}, "choose from auto, x"),
        ({"erasure": {"images": 0}}, "`images` is 0"),
        ({"erasure": {"partial_states": 9, "partial_steps": 8}}, "must not exceed"),
        ({"lower": {"betas": 0.9}}, "`betas`: Expected `array`, got `float`"),
        ({"lower": {"betas": ["a", 0.9]}}, r"`betas\[0\]`: Expected `float`, got `str`"),
        ({"lower": {"betas": [0.9]}}, "`betas`: Expected `array` of length 2"),
        ({"lower": {"betas": [0.9, 1.0]}}, r"`betas` is \(0.9, 1.0\); both numbers must lie in \[0, 1\)"),
        ({"lower": {"eps": float("nan")}}, "`eps` is nan; it must be above 0"),
        ({"upper": {"weight_decay": float("inf")}}, "`weight_decay` is inf"),
        ({"seed": -1}, "`seed` is -1; it must be at least 0"),
        ({"max_grad_norm": float("inf")}, "`max_grad_norm` is inf"),
        ({"explosion": float("nan")}, "`explosion` must be above 1"),
        (
            {"accumulation": 2, "erasure": {"batch_size": 3}},
            "`erasure.batch_size` 3 is not a multiple of `accumulation` 2",
        ),
        ({"erasure": {"steps": 101}}, "`steps` is 101; at most 100"),
        ({"erasure": {"partial_steps": 1001}}, "`partial_steps` is 1001; at most 1000"),
        ({"erasure": {"guidance_scale": float("nan")}}, "`guidance_scale` is nan; it must lie between 0 and 30"),
        ({"erasure": {"partial_guidance_scale": -1}}, "`partial_guidance_scale` is -1"),
        ({"erasure": {"eraser": {"name": "esd", "eta": "much"}}}, "eraser 'esd': `eta`: Expected `float`"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TrainSettings.from_dict(values, base=ATELIER)


def test_settings_cannot_change() -> None:
    with pytest.raises(AttributeError):
        ATELIER.steps = 3  # type: ignore[misc]
    assert replace(ATELIER, steps=3).steps == 3
