"""Faults that the harness has found: each was an error of a library, a wait without an end, or a warning."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pruneguard.bundle import Bundle
from pruneguard.errors import BundleError, ConfigError, GuardFailure, ModelError, RequestError
from pruneguard.models import load_pipeline
from pruneguard.runtime import Components, EngineError, GuardedSampler, Verdict
from pruneguard.runtime.guards.guard import run_guards
from pruneguard.weights import check_sizes
from tests.fuzz.graphs import CRAFTS, CraftedEngine
from tests.fuzz.values import UNPRINTABLE, Hostile, Shouting, breaking, nested
from tests.runtime.engines import Function, decode, encode, letters
from tests.runtime.tiny_bundle import PLACE, tiny_settings


@pytest.fixture
def sampler(whole_bundle: Path) -> GuardedSampler:
    return GuardedSampler.from_bundle(whole_bundle, threads=1, allow_unmeasured=True)


REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "a generator of prompts without an end": ({"prompt": itertools.repeat("a")}, "at most 256 prompts"),
    "prompts that raise while they are read": ({"prompt": breaking(2)}, "prompt must be a text or a list of texts"),
    "a number for a prompt": ({"prompt": 3}, "prompt must be a text or a list of texts, not 3"),
    "a scale that no float holds": ({"guidance_scale": 10**400}, "guidance_scale must be a number from 0 to 30"),
    "a scale of bytes": ({"guidance_scale": [b"7.5"]}, "guidance_scale must be a number from 0 to 30, not b'7.5'"),
    "a scale that raises": ({"guidance_scale": [Hostile()]}, "a value of type Hostile that cannot be written out"),
    "an array without axes": ({"guidance_scale": np.array(7.5)}, r"one value or a list of 1, not array\(7\.5\)"),
    "a list deeper than repr goes": ({"steps": nested(5_000)}, "a value of type list that cannot be written out"),
    "an array of two lines": ({"steps": np.ones((2, 2))}, r"not array\(\[\[1\., 1\.\], \[1\., 1\.\]\]\)$"),
    "a count that raises": ({"steps": Hostile()}, "steps must be a whole number from 1 to 100"),
    "seeds without a length": ({"seed": range(2**100)}, "seeds must be one value or a list of 1"),
    "an unprintable seed": ({"seed": UNPRINTABLE}, "seed must be from 0 to .* that cannot be written out"),
    "an array for the guidance": ({"cfg": np.array(["batched", "x"])}, "cfg must be 'batched' or 'sequential'"),
    "an unprintable guidance": ({"cfg": UNPRINTABLE}, "cfg must be .* that cannot be written out"),
    "a word whose repr raises": ({"cfg": Shouting("x")}, "cfg must be .* a value of type Shouting"),
    "a number for a callback": ({"on_step": 5}, "on_step must be a function or None, not 5"),
    "a text for a callback": ({"cancelled": "no"}, "cancelled must be a function or None, not 'no'"),
}


@pytest.mark.parametrize("method", ["__call__", "each"])
@pytest.mark.parametrize("fault", REQUESTS)
def test_an_argument_of_a_request_is_refused(sampler: GuardedSampler, fault: str, method: str) -> None:
    arguments, said = REQUESTS[fault]
    if "prompt" in arguments and fault.startswith("prompts that raise"):
        arguments = {"prompt": breaking(2)}  # a generator raises only once
    with pytest.raises(RequestError, match=said) as caught:
        getattr(sampler, method)(**{"prompt": "a cat", "steps": 1, **arguments})
    assert "\n" not in str(caught.value)


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "a path of bytes": ({"path": b"bundle"}, "the path of a bundle must be a text, not b'bundle'"),
    "a limit of text": ({"limit": "0.05"}, "limit must lie between 0 and 1, not '0.05'"),
    "a limit of truth": ({"limit": True}, "limit must lie between 0 and 1, not True"),
    "a policy without an end": ({"policy": itertools.repeat("x")}, "policy must be a list of concept names"),
    "a policy of lists": ({"policy": [["x"]]}, "policy must be a list of concept names"),
    "an engine of numbers": ({"engine": 5}, "engine must be the name of an engine, not 5"),
    "a digest of numbers": ({"digest": 5}, "a digest has 64 hexadecimal digits, not 5"),
    "threads without number": ({"threads": 10**9}, "threads must be a whole number from 1 to 1024, not 1000000000"),
    "guards without an end": ({"guards": itertools.repeat("x")}, "guards must be a list of guards"),
    "a guard without methods": ({"guards": ["x"]}, "'x' is not a guard: it needs a name, check_prompt and check_image"),
    "an unprintable batch": ({"batch_size": UNPRINTABLE}, "batch_size must be .* that cannot be written out"),
}


@pytest.mark.parametrize("fault", ARGUMENTS)
def test_an_argument_of_from_bundle_is_refused(whole_bundle: Path, fault: str) -> None:
    arguments, said = ARGUMENTS[fault]
    with pytest.raises(ConfigError, match=said):
        GuardedSampler.from_bundle(**{"path": whole_bundle, **arguments})


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "a" * 5000])
def test_a_path_that_no_file_system_takes_is_a_bundle_error(path: str) -> None:
    with pytest.raises(BundleError, match=r"check it or copy the bundle again|is not a bundle"):
        Bundle.open(path)


def test_half_a_surrogate_pair_in_a_name_of_a_manifest_is_a_bundle_error(whole_bundle: Path, tmp_path: Path) -> None:
    document = json.loads((whole_bundle / "bundle.json").read_text())
    document["audits"][0]["control"][0]["protocol"]["\ud800"] = ""
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="surrogates not allowed; make the bundle again"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("odd", "allow", float("nan"), 10**400, "x"),
        Verdict("odd", np.array(["allow", "x"]), 0.0, 1.0, "x"),  # type: ignore[arg-type]
        Verdict("odd", "allow", 10**400, 1.0, "x"),
    ],
)
def test_a_verdict_with_numbers_beyond_float_or_an_array_is_a_failure(verdict: Verdict) -> None:
    with pytest.raises(GuardFailure, match=r"guard 'odd' on image 0 (gave|allowed)"):
        run_guards([("odd", lambda: verdict)], "image")


SIZES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a billion timesteps": (
        "scheduler/scheduler_config.json",
        {"num_train_timesteps": 10**9},
        "`num_train_timesteps` is 1000000000; at most 1048576 is read",
    ),
    "a billion layers": (
        "unet/config.json",
        {"layers_per_block": 10**9},
        "`layers_per_block` is 1000000000; at most 64",
    ),
    "a layer too many": (
        "text_encoder/config.json",
        {"num_hidden_layers": 65},
        "`num_hidden_layers` is 65; at most 64",
    ),
    "nested layers": (
        "unet/config.json",
        {"transformer_layers_per_block": [[99]]},
        "layers_per_block` is 99; at most 64",
    ),
    "many levels": (
        "vae/config.json",
        {"block_out_channels": [8] * 99},
        "`block_out_channels` has 99 entries; at most 64",
    ),
    "rows beyond memory": (
        "text_encoder/config.json",
        {"vocab_size": 10**7},
        "`vocab_size` is 10000000; at most 1048576",
    ),
}


@pytest.mark.parametrize("fault", SIZES)
def test_a_model_of_a_size_that_no_model_has_is_not_built(tiny_folder: Path, tmp_path: Path, fault: str) -> None:
    file, change, said = SIZES[fault]
    path = tmp_path / Path(file).name
    path.write_text(json.dumps({**json.loads((tiny_folder / file).read_text()), **change}))
    with pytest.raises(ModelError, match=said):
        check_sizes(path)


def test_a_pruning_plan_may_have_lists_that_are_too_long_elsewhere(tmp_path: Path) -> None:
    path, long = tmp_path / "config.json", list(range(5000))
    path.write_text(json.dumps({"pruning_plan": {"resnets": {"mid": long}}, "layers_per_block": 2}))
    check_sizes(path)
    path.write_text(json.dumps({"layers_per_block": long}))
    with pytest.raises(ModelError, match="layers_per_block"):
        check_sizes(path)


def _copy(folder: Path, place: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            (place / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place / path.relative_to(folder))
    return place


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "."])
def test_a_shard_whose_name_no_file_system_takes_is_a_model_error(tiny_folder: Path, tmp_path: Path, name: str) -> None:
    folder = _copy(tiny_folder, tmp_path / "model")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match=r"unet.*(cannot be read|outside its folder)"):
        load_pipeline(folder)


def test_a_text_encoder_that_fails_only_when_it_runs_is_a_model_error(tiny_folder: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_folder, tmp_path / "model")
    config = folder / "text_encoder" / "config.json"
    content = json.loads(config.read_text())
    config.unlink()
    config.write_text(json.dumps({**content, "eos_token_id": None}))
    with pytest.raises(ModelError, match=r"cannot encode a text .*; download the model again"):
        load_pipeline(folder).encode_text(["a cat"])


@pytest.mark.parametrize("craft", ["beyond float", "near infinite"])
@pytest.mark.parametrize("component", ["unet", "vae_decoder"])
def test_an_output_beyond_float32_is_an_engine_error(
    whole_bundle: Path, tmp_path: Path, component: str, craft: str
) -> None:
    model = onnx.load(str(whole_bundle / PLACE / component / "model.onnx"))
    CRAFTS[craft](model, {"unet": "out_sample", "vae_decoder": "sample"}[component])
    engine = CraftedEngine(whole_bundle, component, craft, model.SerializeToString(), None)
    with pytest.raises(EngineError, match=r"not finite|too large to denoise with"):
        engine.draw(tmp_path / "bundle")


def test_latents_that_left_the_range_of_float32_reach_no_decoder() -> None:
    """A decoder that clips would make a picture of infinite latents."""
    decoded: list[Any] = []

    def clip(latent_sample: Any) -> Any:
        decoded.append(latent_sample)
        return decode(np.clip(latent_sample, -1, 1))

    parts = Components(
        text_encoder=Function(encode, "last_hidden_state"),
        unet=Function(lambda sample, timestep, encoder_hidden_states: np.full_like(sample, 3e38), "out_sample"),
        vae_decoder=Function(clip, "sample"),
        tokenizer=letters,
        sampler=tiny_settings(),
    )
    with pytest.raises(EngineError, match="the UNet gave values"):
        GuardedSampler(parts)("a cat", seed=1)
    assert decoded == []


def test_a_factor_that_float32_rounds_to_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="scaling_factor must be a number from 1e-06 to 1e\\+06, not 1e-60"):
        tiny_settings(scaling_factor=1e-60)


def test_what_goes_wrong_in_onnx_runtime_is_raised_and_not_printed(
    whole_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(str(whole_bundle / PLACE / "unet" / "model.onnx"))
    CRAFTS["a constant beyond memory"](model, "out_sample")
    engine = CraftedEngine(whole_bundle, "unet", "a constant", model.SerializeToString(), None)
    with pytest.raises(EngineError, match="ConstantOfShape"):
        engine.draw(tmp_path / "bundle")
    assert capfd.readouterr().err == ""
