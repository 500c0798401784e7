from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pruneguard.errors import ModelError
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel, load_pipeline
from pruneguard.pruning.search import random_plan
from tests.models import build_tiny_unet, same_weights

WORDS = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>", "b", "b</w>", "c", "c</w>"]


@pytest.fixture
def pruned() -> PrunedUNet2DConditionModel:
    unet = build_tiny_unet()
    return PrunedUNet2DConditionModel.from_unet(unet, random_plan(unet, 0, remove=2))


@pytest.fixture
def pipeline(pruned: PrunedUNet2DConditionModel, tmp_path: Path) -> Pipeline:
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=6,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        latent_channels=4,
    )
    return Pipeline(
        tokenizer=CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=6),
        text_encoder=CLIPTextModel(text).eval(),
        vae=vae.eval(),
        unet=pruned,
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1, prediction_type="v_prediction"),
        source="test",
    )


@pytest.fixture
def saved(pipeline: Pipeline, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    pipeline.save(folder)
    return folder


def test_diffusers_loads_a_saved_pipeline(saved: Path, pipeline: Pipeline) -> None:
    index = json.loads((saved / "model_index.json").read_text())
    assert index["unet"] == ["pruneguard", "PrunedUNet2DConditionModel"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from diffusers import StableDiffusionPipeline

        loaded = StableDiffusionPipeline.from_pretrained(saved, safety_checker=None)
    assert type(loaded.unet) is PrunedUNet2DConditionModel
    assert same_weights(loaded.unet, pipeline.unet)
    loaded.set_progress_bar_config(disable=True)
    assert loaded("a b", num_inference_steps=2, output_type="np").images.shape == (1, 16, 16, 3)


def test_a_folder_comes_back_as_it_was_saved(
    saved: Path, pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    loaded = load_pipeline(saved)
    assert capfd.readouterr() == ("", "")
    for name in ("text_encoder", "vae", "unet"):
        assert same_weights(getattr(loaded, name), getattr(pipeline, name))
        assert not getattr(loaded, name).training
    assert (loaded.latent_channels, loaded.latent_size, loaded.vae_scale, loaded.text_tokens) == (4, 8, 2, 6)
    assert (loaded.prediction_type, loaded.device.type, loaded.source) == ("v_prediction", "cpu", str(saved))
    prompts = ["a b", "c " * 40]
    assert torch.equal(loaded.encode_text(prompts), pipeline.encode_text(prompts))


def test_what_was_encoded_before_does_not_change_what_is_saved(saved: Path, tmp_path: Path) -> None:
    quiet, used = load_pipeline(saved), load_pipeline(saved)
    used.encode_text(["a red square"])
    quiet.save(tmp_path / "quiet")
    used.save(tmp_path / "used")
    first, second = (tmp_path / name / "tokenizer" / "tokenizer.json" for name in ("quiet", "used"))
    assert first.read_bytes() == second.read_bytes()


def test_where_a_model_was_loaded_from_is_not_saved(saved: Path, tmp_path: Path) -> None:
    load_pipeline(saved).save(tmp_path / "again")
    for path in (tmp_path / "again").rglob("*.json"):
        assert str(saved) not in path.read_text(), path


def test_shards_with_an_index_load_like_one_file(saved: Path, pipeline: Pipeline) -> None:
    (saved / WEIGHTS).unlink()
    pipeline.unet.save_pretrained(saved / "unet", max_shard_size="200KB")
    assert len(list((saved / "unet").glob("*-of-*.safetensors"))) > 1
    assert same_weights(load_pipeline(saved).unet, pipeline.unet)


def test_a_diffusers_pipeline_shares_the_models_and_not_the_scheduler(pipeline: Pipeline) -> None:
    drawing = pipeline.to_diffusers()
    drawing.set_progress_bar_config(disable=True)
    assert drawing.unet is pipeline.unet
    assert type(drawing.scheduler) is type(pipeline.scheduler)
    assert drawing.scheduler.config == pipeline.scheduler.config
    before = pipeline.scheduler.timesteps
    drawing("a b", num_inference_steps=2, output_type="np")
    assert pipeline.scheduler.timesteps is before


def test_text_is_padded_and_cut(pipeline: Pipeline) -> None:
    states = pipeline.encode_text(["a", "a " * 50])
    assert states.shape == (2, 6, 16)
    ids = torch.tensor([[0, 3, 1, 1, 1, 1]])
    with torch.no_grad():
        expected = pipeline.text_encoder(ids).last_hidden_state[0]
    assert (states[0] - expected).abs().max() < 1e-6
    assert not states.requires_grad


def test_moves_and_changes_precision(pipeline: Pipeline, capfd: pytest.CaptureFixture[str]) -> None:
    assert {model.dtype for model in (pipeline.to("cpu").unet, pipeline.vae)} == {torch.float32}
    assert pipeline.to("cpu", torch.float16) is pipeline
    assert capfd.readouterr() == ("", "")
    assert {model.dtype for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float16}


def test_a_dense_folder_and_a_bundle(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.unet = build_tiny_unet()
    pipeline.save(tmp_path / "bundle" / "model")
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    loaded = load_pipeline(str(tmp_path / "bundle"), dtype=torch.bfloat16)
    assert type(loaded.unet) is UNet2DConditionModel
    assert loaded.unet.dtype == torch.bfloat16


def test_atelier_is_known_by_its_name(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneguard.atelier.folder", lambda: saved, raising=False)
    assert load_pipeline("atelier").source == "atelier"


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def edit_index(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / WEIGHTS
    path.write_bytes(change(path.read_bytes()))


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    del tensors["conv_in.bias"]
    save_file(tensors, folder / WEIGHTS)


def shard_index(folder: Path, weight_map: object) -> None:
    (folder / WEIGHTS).unlink()
    (folder / (WEIGHTS + ".index.json")).write_text(json.dumps({"weight_map": weight_map}))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def vocabulary_of_two(found: dict[str, Any]) -> None:
    specials = [entry["content"] for entry in found["added_tokens"]]
    found["model"].update(vocab={name: place for place, name in enumerate(specials)}, merges=[])
    for place, entry in enumerate(found["added_tokens"]):
        entry["id"] = place


def edit_tokenizer(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def edit_config(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    "index not json": (lambda f: (f / "model_index.json").write_text("{"), "model_index.json: not valid JSON"),
    "index not an object": (lambda f: (f / "model_index.json").write_text("[]"), "must hold a JSON object"),
    "another pipeline": (lambda f: edit_index(f, _class_name="FluxPipeline"), "a FluxPipeline; only StableDiffusion"),
    "another unet": (
        lambda f: edit_index(f, unet=["diffusers", "UNet3D"]),
        "unet is UNet3D; supported: UNet2DConditionModel, PrunedUNet2DConditionModel$",
    ),
    "no scheduler class": (lambda f: edit_index(f, scheduler=None), "scheduler is None"),
    "no folder": (lambda f: (f / "vae").rename(f / "gone"), "vae: missing; give a whole diffusers folder"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "diffusion_pytorch_model.safetensors: missing"),
    "pickle": (
        lambda f: (f / WEIGHTS).rename(f / "unet" / "diffusion_pytorch_model.bin"),
        "unet: only pickled weights",
    ),
    "variant": (
        lambda f: (f / WEIGHTS).rename(f / "unet" / "diffusion_pytorch_model.fp16.safetensors"),
        "only the variant diffusion_pytorch_model.fp16.safetensors; rename it",
    ),
    "pointer": (lambda f: (f / WEIGHTS).write_bytes(POINTER), "a Git LFS pointer, .* run `git lfs pull`"),
    "pointer config": (lambda f: (f / "unet" / "config.json").write_bytes(POINTER), "config.json: a Git LFS pointer"),
    "truncated": (lambda f: edit_weights(f, lambda b: b[:-1]), r"truncated \(\d+ bytes, its header says \d+\)"),
    "longer": (lambda f: edit_weights(f, lambda b: b + b"0"), "has bytes after its end"),
    "header cut": (lambda f: edit_weights(f, lambda b: b[:40]), "truncated, or not a safetensors file"),
    "empty": (lambda f: edit_weights(f, lambda b: b""), "truncated, or not a safetensors file"),
    "not safetensors": (
        lambda f: edit_weights(f, lambda b: b"x" * len(b)),
        r"not a safetensors file \(header too large\)",
    ),
    "deep header": (
        lambda f: edit_weights(f, lambda b: (50_000).to_bytes(8, "little") + b'{"a":' * 10_000),
        r"not a safetensors file \(invalid JSON in header: recursion limit exceeded",
    ),
    "tensors overlap": (
        lambda f: edit_weights(f, lambda b: b.replace(b'"data_offsets":[0,', b'"data_offsets":[1,', 1)),
        r"not a safetensors file \(invalid ",
    ),
    "pipe": (lambda f: pipe(f / WEIGHTS), "not a regular file"),
    "tensor missing": (drop_a_tensor, "1 tensors are missing, such as conv_in.bias"),
    "shard outside": (
        lambda f: shard_index(f, {"a": "../x.safetensors"}),
        "names the shard '../x.safetensors' outside its folder",
    ),
    "index without shards": (lambda f: shard_index(f, {}), "`weight_map` must map tensors to files"),
    "index of numbers": (lambda f: shard_index(f, {"a": 1}), "`weight_map` must map tensors to files"),
    "index is a list": (lambda f: shard_index(f, ["a"]), "`weight_map` must map tensors to files"),
    "shard lost": (
        lambda f: shard_index(f, {"a": "b.safetensors"}),
        "b.safetensors: cannot be read .No such file",
    ),
    "deep json": (lambda f: (f / "unet" / "config.json").write_text("[" * 100_000), "it is nested too deeply"),
    "pipe for a config": (
        lambda f: pipe(f / "vae" / "config.json"),
        "vae.config.json: not a regular file",
    ),
    "pipe for a tokenizer's config": (
        lambda f: pipe(f / "tokenizer" / "tokenizer_config.json"),
        "tokenizer_config.json: not a regular file",
    ),
    "huge vocabulary": (
        lambda f: os.truncate(f / "tokenizer" / "tokenizer.json", (16 << 20) + 1),
        "tokenizer.json: larger than 16 MiB",
    ),
    "huge config": (
        lambda f: os.truncate(f / "model_index.json", (16 << 20) + 1),
        "model_index.json: larger than 16 MiB",
    ),
    "vocabulary of two": (lambda f: edit_tokenizer(f, vocabulary_of_two), "gives all prompts the same tokens"),
    "vocabulary of another model": (
        lambda f: edit_tokenizer(f, lambda found: found["model"]["vocab"].update({"far": 10**6})),
        "has tokens up to 1000000, and the text encoder has",
    ),
    "no room for a prompt": (
        lambda f: edit_config(f / "tokenizer", name="tokenizer_config.json", model_max_length=1),
        "model_max_length must be a whole number from 3, not 1",
    ),
    "no vocabulary": (
        lambda f: (f / "tokenizer" / "tokenizer.json").unlink(),
        "tokenizer: has neither tokenizer.json nor vocab.json and merges.txt; give a whole diffusers folder",
    ),
    "another scheduler": (
        lambda f: edit_index(f, scheduler=["mine", "MyScheduler"]),
        "scheduler is MyScheduler; supported: any scheduler class of diffusers",
    ),
    "width is a word": (
        lambda f: edit_config(f / "text_encoder", hidden_size="wide"),
        "text_encoder: cannot be loaded .*'hidden_size' expected int, got str",
    ),
    "no heads": (lambda f: edit_config(f / "unet", attention_head_dim=0), "unet: cannot be loaded .*zero"),
    "plan of another unet": (
        lambda f: edit_config(f / "unet", pruning_plan={"removed": ["conv_in"]}),
        "unet: pruning plan, removed: this UNet cannot spare 'conv_in'",
    ),
    "config lost": (lambda f: (f / "vae" / "config.json").unlink(), "vae.config.json: cannot be read"),
    "other shapes": (
        lambda f: (f / "unet" / "config.json").write_text(
            (f / "unet" / "config.json").read_text().replace('"in_channels": 4', '"in_channels": 5')
        ),
        "unet: cannot be loaded",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_say_what_is_wrong_in_one_line(case: str, saved: Path) -> None:
    damage, message = BROKEN[case]
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        load_pipeline(saved)
    assert "\n" not in str(caught.value)


def test_sources_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match='no such folder; give "atelier", a diffusers folder, a bundle, or a hub id'):
        load_pipeline(tmp_path / "nothing")
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.ckpt: a single file"):
        load_pipeline(tmp_path / "model.ckpt")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/nothing: no such folder here, and the hub cannot be reached"):
        load_pipeline("nobody/nothing")


def test_a_folder_that_cannot_be_written(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        pipeline.save(tmp_path / "file" / "model")


def test_a_full_disk_while_saving_keeps_its_reason(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ModelError, match=r"model cannot be written \(No space left on device\); free some space"):
        pipeline.save(tmp_path / "model")
