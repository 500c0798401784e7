"""Drawing through engines that are plain functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruneguard.errors import Cancelled, RequestError
from pruneguard.runtime import Components, EngineError, denoise, draw, draw_latents, draw_noise
from pruneguard.runtime.sampling.solvers.pndm import make_pndm
from tests.runtime.engines import Function


def test_noise_is_pinned() -> None:
    noise = draw_noise([0, 2**63 - 1], (1, 1, 3))
    assert noise.dtype == np.float32
    assert noise[0].ravel().tolist() == pytest.approx([1.117622, -1.3871249, -0.4265716], abs=1e-6)


def test_noise_does_not_depend_on_batch_or_order() -> None:
    together = draw_noise([3, 1, 2], (4, 8, 8))
    alone = np.concatenate([draw_noise([seed], (4, 8, 8)) for seed in (3, 1, 2)])
    assert np.array_equal(together, alone)


def test_a_seed_gives_one_image_alone_in_a_batch_and_in_any_order(parts: Components) -> None:
    prompts, seeds = ["red", "blue star", "green"], [5, 6, 7]
    together = draw(parts, prompts, seeds, steps=5)
    assert together.shape == (3, 16, 16, 3) and together.dtype == np.uint8
    assert together.std() > 10
    backwards = draw(parts, prompts[::-1], seeds[::-1], steps=5, batch_size=2)[::-1]
    alone = np.concatenate([draw(parts, [p], [s], steps=5) for p, s in zip(prompts, seeds, strict=True)])
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_batched_and_sequential_guidance_agree(parts: Components) -> None:
    both = [draw_latents(parts, ["red", "blue"], [1, 2], steps=10, cfg=cfg) for cfg in ("batched", "sequential")]
    assert np.abs(both[0] - both[1]).max() <= 1e-6


def test_guidance_of_one_skips_the_unconditional_half(parts: Components) -> None:
    draw_latents(parts, ["red", "blue"], [1, 2], steps=25, guidance_scale=1)
    assert isinstance(parts.unet, Function)
    assert (parts.unet.calls, parts.unet.rows) == (26, 52)


def test_guided_calls_are_counted_by_the_schedule(parts: Components) -> None:
    assert isinstance(parts.unet, Function)
    draw_latents(parts, ["red", "blue"], [1, 2], steps=25)
    assert (parts.unet.calls, parts.unet.rows) == (26, 104)
    draw_latents(parts, ["red", "blue"], [1, 2], steps=25, cfg="sequential")
    assert (parts.unet.calls, parts.unet.rows) == (26 + 52, 208)


def test_each_row_has_its_own_guidance(parts: Components) -> None:
    together = draw_latents(parts, ["red", "red"], [1, 1], steps=6, guidance_scale=[2.0, 9.0])
    for row, scale in enumerate([2.0, 9.0]):
        alone = draw_latents(parts, ["red"], [1], steps=6, guidance_scale=scale)
        assert np.abs(together[row] - alone[0]).max() <= 1e-6
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_guidance_arithmetic() -> None:
    unet = Function(
        lambda sample, timestep, encoder_hidden_states: 0 * sample + encoder_hidden_states[:, :1, :1, None],
        "out_sample",
    )
    solver = make_pndm({"skip_prk_steps": True}, 1)
    noise = np.ones((1, 4, 2, 2), dtype=np.float32)
    cond, uncond = np.full((1, 2, 3), 3.0, np.float32), np.full((1, 2, 3), 1.0, np.float32)
    guided = denoise(unet, noise, cond, uncond, solver, 5.0)
    direct = denoise(unet, noise, np.full((1, 2, 3), 11.0, np.float32), None, solver, 1.0)
    assert np.abs(guided - direct).max() <= 1e-6
    assert (noise == 1).all()


def test_a_negative_prompt_changes_the_image(parts: Components) -> None:
    plain, negative = (draw_latents(parts, ["red"], [1], steps=4, negative_prompt=text) for text in ("", "blue"))
    assert np.abs(plain - negative).max() > 0.01


def test_on_step_counts_over_all_batches(parts: Components) -> None:
    seen: list[tuple[int, int, int]] = []
    draw(parts, ["red"] * 3, [1, 2, 3], steps=3, batch_size=2, on_step=lambda *step: seen.append(step))
    assert [step[0] for step in seen] == list(range(8))
    assert {step[1] for step in seen} == {8}
    assert [step[2] for step in seen[:4]] == [667, 334, 334, 1]


def test_cancelling_stops_before_the_next_call(parts: Components) -> None:
    assert isinstance(parts.unet, Function)
    steps: list[int] = []
    with pytest.raises(Cancelled):
        draw(parts, ["red"], [1], on_step=lambda index, *_: steps.append(index), cancelled=lambda: len(steps) == 3)
    assert parts.unet.calls == 3


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae_decoder"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_becomes_an_image(parts: Components, component: str, value: float) -> None:
    engine = getattr(parts, component)
    sound = engine.function

    def broken(**inputs: Any) -> Any:
        result = np.array(sound(**inputs), dtype=np.float32)
        result.flat[-1] = value
        return result

    engine.function = broken
    with pytest.raises(EngineError, match="gave values that are not finite; check the engine's precision"):
        draw(parts, ["red"], [1], steps=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "at least one text"),
        ({"prompts": "red"}, "at least one text"),
        ({"prompts": ["red", "  "]}, "prompt 1 must be a text that is not empty"),
        ({"prompts": [None, "red"]}, "prompt 0"),
        ({"prompts": ["red", "r" * 2001]}, "prompt 1 must have at most 2000 characters"),
        ({"negative_prompt": "r" * 2001}, "negative_prompt must be a text of at most 2000"),
        ({"seeds": [1]}, "seeds has 1 entries for 2 prompts"),
        ({"seeds": [1, -1]}, "seed must be a whole number from 0 to 9223372036854775807, not -1"),
        ({"seeds": [1, 2**63]}, "seed must be"),
        ({"seeds": [1, 0.5]}, "seed must be"),
        ({"seeds": [1, True]}, "seed must be"),
        ({"steps": 0}, "steps must be a whole number from 1 to 100"),
        ({"steps": 101}, "steps must be"),
        ({"guidance_scale": 30.1}, "guidance_scale must be a number from 0 to 30"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be"),
        ({"guidance_scale": "7.5"}, "guidance_scale must be"),
        ({"guidance_scale": [1.0, None]}, "guidance_scale must be"),
        ({"guidance_scale": None}, None),
        ({"guidance_scale": [1.0]}, "guidance_scale has 1 entries"),
        ({"negative_prompt": 3}, "negative_prompt must be a text"),
        ({"height": 24}, "height must be a multiple of 16 pixels"),
        ({"width": 0}, "width must be"),
        ({"width": 16400}, "width must be a whole number from 1 to 16384, not 16400"),
        ({"height": 16, "width": 32}, None),
        ({"batch_size": 0}, "batch_size"),
        ({"cfg": "both"}, "cfg must be"),
    ],
)
def test_a_request_is_checked_before_any_engine_runs(
    parts: Components, changes: dict[str, Any], message: str | None
) -> None:
    request: dict[str, Any] = {"prompts": ["red", "blue"], "seeds": [1, 2], "steps": 2, **changes}
    if message is None:
        assert len(draw_latents(parts, **request)) == 2
        return
    with pytest.raises(RequestError, match=message):
        draw_latents(parts, **request)
    assert isinstance(parts.unet, Function) and isinstance(parts.text_encoder, Function)
    assert parts.unet.calls == parts.text_encoder.calls == 0


def test_size_is_height_by_width(parts: Components) -> None:
    assert draw(parts, ["red"], [1], steps=2, height=16, width=48).shape == (1, 16, 48, 3)


def test_rows_of_guidance_one_skip_their_unconditional_half_alone(parts: Components) -> None:
    assert isinstance(parts.unet, Function)
    draw_latents(parts, ["red", "blue"], [1, 2], steps=25, guidance_scale=[1.0, 7.5])
    assert (parts.unet.calls, parts.unet.rows) == (26, 26 * 3)


@pytest.mark.parametrize(
    ("component", "shape", "message"),
    [
        ("text_encoder", (1, 16), r"the text encoder gave shape \(1, 16\) where \(1, 16, None\) is due"),
        ("text_encoder", (2, 16, 8), "the text encoder gave shape"),
        ("unet", (2, 4, 8, 4), r"the UNet gave shape \(2, 4, 8, 4\) where \(2, 4, 8, 8\) is due; export it again"),
        ("vae_decoder", (1, 4, 16, 16), "the VAE decoder gave shape"),
        ("vae_decoder", (1, 3, 8, 8), r"the VAE decoder gave shape \(1, 3, 8, 8\) where \(1, 3, 16, 16\) is due"),
    ],
)
def test_an_output_of_the_wrong_shape_is_refused(
    parts: Components, component: str, shape: tuple[int, ...], message: str
) -> None:
    getattr(parts, component).function = lambda **inputs: np.zeros(shape, np.float32)
    with pytest.raises(EngineError, match=message):
        draw(parts, ["red"], [1], steps=3)


def test_numbers_beyond_all_bounds_are_wrong_requests(parts: Components) -> None:
    huge: dict[str, Any] = {"guidance_scale": 10**400, "steps": 10**5000, "seeds": [10**5000]}
    for name, value in huge.items():
        with pytest.raises(RequestError, match=f"{name.removesuffix('s')}.* must be a .*number from"):
            draw_latents(parts, **{"prompts": ["red"], "seeds": [1], name: value})
