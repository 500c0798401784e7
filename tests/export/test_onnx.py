"""Whole exports: the folder, its record, the gates, and what is left behind when one fails."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from pruneguard.errors import ConfigError, ExportError, RequestError
from pruneguard.export import ParityLimits, ParitySettings, export_onnx, onnx, sampler_settings
from pruneguard.measurement import find
from pruneguard.runtime import SamplerSettings, draw, onnx_components, torch_components

FILES = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.onnx",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/model.onnx",
    "vae_decoder/config.json",
    "vae_decoder/model.onnx",
]
BRIEF = ParitySettings(steps=2, timesteps=2, images=1)


@pytest.fixture
def ready_graphs(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take the session's graphs instead of tracing again; every gate after that is the real one."""

    def copy(component: Any, path: Path, *, opset: int) -> int:
        shutil.copyfile(exported.folder / component.name / "model.onnx", path)
        return 1

    monkeypatch.setattr(onnx, "write_graph", copy)


def test_the_folder_is_optimums_layout(exported: Any) -> None:
    sizes = {str(p.relative_to(exported.folder)): p.stat().st_size for p in exported.folder.rglob("*") if p.is_file()}
    assert sorted(sizes) == FILES
    assert exported.record.files == sizes
    index = json.loads((exported.folder / "model_index.json").read_text())
    home = "optimum.onnxruntime.modeling_diffusion"
    assert index["_class_name"] == "ORTStableDiffusionPipeline"
    assert (index["unet"], index["vae"], index["text_encoder"]) == (
        [home, "ORTUnet"],
        [home, "ORTVae"],
        [home, "ORTTextEncoder"],
    )
    assert (index["tokenizer"], index["scheduler"]) == (
        ["transformers", "CLIPTokenizer"],
        ["diffusers", "PNDMScheduler"],
    )
    for config in ("unet", "vae_decoder", "text_encoder"):
        assert "_name_or_path" not in json.loads((exported.folder / config / "config.json").read_text())
    assert [path.name for path in exported.folder.parent.iterdir()] == ["onnx"]


def test_the_record_tells_what_was_made_and_measured(exported: Any) -> None:
    record = json.loads(json.dumps(exported.record.to_dict(), allow_nan=False))
    assert record["opset"] == 20
    assert set(record["seconds"]) == {"text_encoder", "unet", "vae_decoder", "parity"}
    assert {"torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime"} <= record["versions"].keys()
    parity = record["parity"]
    assert all(parity["components"][name]["max_abs"] < 1e-4 for name in record["nodes"])
    cases = [case["case"] for case in parity["cases"] if case["component"] == "unet"]
    assert cases == [
        "batch 1, timestep 961, latents 8x8",
        "batch 2, timestep 801, latents 8x8",
        "batch 3, timestep 601, latents 8x8",
        "batch 1, timestep 401, latents 8x8",
        "batch 2, timestep 201, latents 8x8",
        "batch 3, timestep 1, latents 8x8",
        "batch 1, timestep 751, latents 16x8",
        "batch 2, timestep 1, latents 16x8",
        "batch 3, timesteps 961 521 1, latents 8x8",
    ]
    assert min(parity["images"]["psnr_db"]) >= 60


def test_the_record_has_measurements(exported: Any) -> None:
    worst = find(exported.record.measurements, "parity/unet/relative_l2")
    assert worst is not None and worst.count == 9 and 0 < worst.value < 1e-5
    assert worst.protocol.settings == {"steps": 25, "guidance_scale": 7.5}
    cosine = find(exported.record.measurements, "parity/vae_decoder/cosine")
    assert cosine is not None and cosine.count == 6 and 0.99999 < cosine.value <= 1
    text = find(exported.record.measurements, "parity/text_encoder/max_abs")
    assert text is not None and text.count == 3
    images = find(exported.record.measurements, "parity/images/psnr")
    assert images is not None and images.value == min(exported.record.parity["images"]["psnr_db"])
    assert (images.unit, images.count, images.seeds) == ("dB", 2, (0, 1))


def test_progress_advances_with_every_case_and_call(exported: Any) -> None:
    stages = [stage for stage, _, _ in exported.stages]
    assert list(dict.fromkeys(stages)) == ["text_encoder", "unet", "vae_decoder", "parity", "images", "done"]
    # Three graphs; 26 calls of the reference and 5 at the oblong size, 18 cases; 26 calls of the engines.
    assert {total for _, _, total in exported.stages} == {3 + 26 + 5 + 18 + 26}
    done = [count for _, count, _ in exported.stages]
    assert done == [*range(79), 78]
    assert (stages.count("parity"), stages.count("images")) == (1 + 26 + 5 + 18, 26)


def test_sampler_settings_are_the_runtimes(exported: Any) -> None:
    settings = json.loads(json.dumps(sampler_settings(exported.pipeline)))
    scheduler = settings.pop("scheduler")
    assert scheduler["skip_prk_steps"] is True
    assert settings == {
        "steps": 25,
        "guidance_scale": 7.5,
        "latent_channels": 4,
        "latent_size": 8,
        "vae_scale": 2,
        "scaling_factor": 0.18215,
        "text_tokens": 32,
        "prediction_type": "v_prediction",
        "solver": "pndm",
    }
    SamplerSettings.from_dict({**settings, "scheduler": scheduler})


def test_engines_draw_what_the_pipeline_draws_at_another_size(exported: Any) -> None:
    options: dict[str, Any] = {
        "prompts": ["a green cup"] * 3,
        "seeds": [4, 5, 6],
        "steps": 4,
        "height": 32,
        "width": 48,
    }
    expected = draw(torch_components(exported.pipeline), **options)
    found = draw(onnx_components(exported.folder, threads=1), **options)
    assert found.shape == (3, 32, 48, 3)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.usefixtures("ready_graphs")
def test_a_foreign_scheduler_is_refused_or_exported_as_pndm(make_pipeline: Any, tmp_path: Path) -> None:
    pipeline = make_pipeline()
    pipeline.scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", beta_end=0.01)
    with pytest.raises(ConfigError, match=r"scheduler is EulerDiscreteScheduler, .*; --scheduler pndm draws"):
        export_onnx(pipeline, tmp_path / "onnx", parity=BRIEF)
    assert not any(tmp_path.iterdir())
    settings = SamplerSettings.from_dict(sampler_settings(pipeline, "pndm"))
    export_onnx(pipeline, tmp_path / "onnx", sampler=settings, parity=BRIEF)
    written = onnx_components(tmp_path / "onnx", threads=1).sampler
    assert (written.scheduler["_class_name"], written.scheduler["beta_end"]) == ("PNDMScheduler", 0.01)
    assert json.loads((tmp_path / "onnx" / "model_index.json").read_text())["scheduler"][1] == "PNDMScheduler"
    assert written.build_solver(7).timesteps == settings.build_solver(7).timesteps


def test_odd_sizes_are_refused_before_anything_runs(exported: Any) -> None:
    with pytest.raises(RequestError, match="height must be a multiple of 16 pixels"):
        draw(onnx_components(exported.folder, threads=1), ["a cup"], [0], height=36)


@pytest.mark.usefixtures("ready_graphs")
@pytest.mark.parametrize("earlier", [False, True])
def test_engines_that_disagree_are_not_kept(exported: Any, make_pipeline: Any, tmp_path: Path, earlier: bool) -> None:
    pipeline, folder = make_pipeline(), tmp_path / "onnx"
    if earlier:
        shutil.copytree(exported.folder, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def corrupt(stage: str, done: int, total: int) -> None:
        if stage == "parity":
            with torch.no_grad():
                pipeline.unet.conv_out.weight[0] += 0.01

    with pytest.raises(ExportError, match=r"^unet out_sample \(batch 1, timestep 501, .*; the engines are refused$"):
        export_onnx(pipeline, folder, parity=BRIEF, on_progress=corrupt)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"] * earlier


@pytest.mark.usefixtures("ready_graphs")
def test_images_that_disagree_are_not_kept(make_pipeline: Any, tmp_path: Path) -> None:
    strict = ParitySettings(steps=2, timesteps=1, images=1, limits=ParityLimits(psnr_db=101.0))
    with pytest.raises(ExportError, match=r"images after 2 steps: PSNR [\d.]+ dB .* below 101\.0 dB"):
        export_onnx(make_pipeline(), tmp_path / "onnx", parity=strict)
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("ready_graphs")
def test_a_model_that_turns_not_finite_while_sampling_is_not_kept(make_pipeline: Any, tmp_path: Path) -> None:
    pipeline = make_pipeline()
    with torch.no_grad():
        pipeline.unet.conv_out.weight.fill_(3e38)
    with pytest.raises(ExportError, match="the reference: the UNet gave values that are not finite"):
        export_onnx(pipeline, tmp_path / "onnx", parity=BRIEF)
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("ready_graphs")
def test_a_broken_engine_is_named(make_pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vars(onnx)["write_graph"]

    def cut(component: Any, path: Path, *, opset: int) -> int:
        nodes: int = whole(component, path, opset=opset)
        if component.name == "vae_decoder":
            path.write_bytes(path.read_bytes()[:-1000])
        return nodes

    monkeypatch.setattr(onnx, "write_graph", cut)
    with pytest.raises(ExportError, match=r"the exported engines: .*vae_decoder/model\.onnx"):
        export_onnx(make_pipeline(), tmp_path / "onnx", parity=BRIEF)


@pytest.mark.usefixtures("ready_graphs")
def test_an_earlier_export_is_replaced_and_anything_else_is_kept(
    exported: Any, make_pipeline: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(exported.folder, folder)
    (folder / "stale.txt").touch()
    export_onnx(make_pipeline(), folder, parity=BRIEF)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == FILES
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").touch()
    with pytest.raises(ExportError, match="holds something that is not an export, which was kept"):
        export_onnx(make_pipeline(), other, parity=BRIEF)
    assert [path.name for path in other.iterdir()] == ["chapter.txt"]


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "choose a folder that you may write to")]
)
def test_a_disk_that_fails_is_one_clear_line(
    make_pipeline: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    remedy: str,
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(code, "the reason")

    monkeypatch.setattr(onnx, "write_layout", fail)
    with pytest.raises(ExportError, match=rf"onnx cannot be written \(the reason\); {remedy}"):
        export_onnx(make_pipeline(), tmp_path / "onnx")
    assert not any(tmp_path.iterdir())


def test_parity_settings_are_checked() -> None:
    cases: tuple[dict[str, Any], ...] = (
        {"steps": 0},
        {"steps": 101},
        {"guidance_scale": 1.0},
        {"images": 0},
        {"batches": ()},
        {"batches": (0,)},
    )
    for wrong in cases:
        with pytest.raises(ConfigError, match=f"parity {next(iter(wrong))}"):
            ParitySettings(**wrong)


def test_importing_the_package_loads_neither_torch_nor_onnx() -> None:
    code = "import sys, pruneguard.export as e; assert not {'torch', 'onnx', 'numpy'} & sys.modules.keys(); dir(e); e.x"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert "module 'pruneguard.export' has no attribute 'x'" in done.stderr
