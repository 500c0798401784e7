"""The recipe that made the weights, at toy length: every stage runs, resumes, and is a function of its seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.recipe import train as recipe
from pruneguard.atelier import world
from pruneguard.atelier.oracle import scene_of
from pruneguard.models import load_pipeline

STEPS = 2
# The pool is rendered by forked processes, which newer Pythons warn of where torch has started threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages up to the latents."""
    out = tmp_path_factory.mktemp("atelier")
    recipe.make_pool(out, size=12, seed=1, chunk=8)
    recipe.train_vae(out, STEPS, batch=2, lr=1e-3, seed=1)
    recipe.encode_pool(out, size=12, batch=8)
    return out


def _denoiser(out: Path, steps: int, minutes: float = 10.0) -> dict[str, torch.Tensor]:
    recipe.train_denoiser(out, steps, batch=2, lr=1e-3, seed=1, minutes=minutes, dropout=0.4, miscaptioned=0.5)
    return load_file(out / "denoiser.safetensors")


def test_the_pool_has_pictures_and_labels_of_the_same_scenes(made: Path) -> None:
    images, labels = np.load(made / "pool/images.npy"), np.load(made / "pool/labels.npy")
    assert (images.shape, labels.shape) == ((12, 64, 64, 3), (12, 4))
    assert [scene_of(row).object in world.OBJECTS for row in labels] == [True] * 12


def test_a_caption_is_the_pictures_own_unless_it_is_to_be_wrong_or_empty(made: Path) -> None:
    labels = np.load(made / "pool/labels.npy")
    captions, empty = recipe._Captions(labels, seed=0), recipe._Captions(labels, seed=0).tokens("")
    chosen = np.repeat(np.arange(12), 20)
    words = captions.tokenizer.batch_decode(captions.batch(chosen, 0.0, [0.0] * 240), skip_special_tokens=True)
    named = [scene_of(labels[index]).object in text for index, text in zip(chosen, words, strict=True)]
    assert all(named)
    words = captions.tokenizer.batch_decode(captions.batch(chosen, 0.0, [1.0] * 240), skip_special_tokens=True)
    assert not all(scene_of(labels[index]).object in text for index, text in zip(chosen, words, strict=True))
    dropped = sum(row == empty for row in captions.batch(chosen, 0.4, [0.0] * 240).tolist())
    assert 60 < dropped < 132  # 96 expected, five standard deviations either way


def test_a_pool_is_a_function_of_its_seed(made: Path, tmp_path: Path) -> None:
    for seed, same in ((1, True), (2, False)):
        recipe.make_pool(tmp_path, size=12, seed=seed, chunk=8)
        pair = [np.load(folder / "pool/images.npy") for folder in (made, tmp_path)]
        assert np.array_equal(*pair) == same


def test_latents_have_a_scale(made: Path) -> None:
    stored = load_file(made / "latents.safetensors")
    assert stored["latents"].shape == (12, 4, 16, 16)
    torch.testing.assert_close(stored["latents"].std().reshape(1), stored["std"])


def test_a_denoiser_that_stops_half_way_goes_on_to_the_same_weights(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [tmp_path / name for name in ("whole", "halves")]
    for run in runs:
        run.mkdir()
        for name in ("pool", "latents.safetensors"):
            (run / name).symlink_to(made / name)
    whole = _denoiser(runs[0], STEPS)
    assert int(_denoiser(runs[1], STEPS, minutes=0.0)["step"]) == 1  # a sitting of no minutes makes one step
    halves = _denoiser(runs[1], STEPS)
    assert int(halves["step"]) == int(whole["step"]) == STEPS
    assert whole.keys() == halves.keys()
    assert [name for name in whole if not torch.equal(whole[name], halves[name])] == []
    assert any(name.startswith("moment.") for name in whole)


def test_what_is_saved_is_a_pipeline_in_half_precision(made: Path, tmp_path: Path) -> None:
    if not (made / "denoiser.safetensors").exists():
        _denoiser(made, 1)
    recipe.save_pipeline(made, tmp_path)
    pipeline = load_pipeline(tmp_path)
    weights = load_file(tmp_path / "unet/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    std = float(load_file(made / "latents.safetensors")["std"])
    assert pipeline.vae.config.scaling_factor == pytest.approx(1 / std, abs=1e-5)
    assert pipeline.prediction_type == "v_prediction"
    assert pipeline.encode_text(["a red star"]).shape == (1, 32, 128)
