from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pruneguard.bundle import Bundle
from pruneguard.errors import ConfigError
from pruneguard.runs.processes import collective_timeout, this_process
from tests.processes import run_script

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    run_script("tests.runs.two_processes", folder)
    return folder


def test_a_process_without_a_launcher_is_the_main_one() -> None:
    process = this_process()
    assert (process.num_processes, process.is_main_process) == (1, True)


def test_processes_wait_a_day_for_each_other_or_as_long_as_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNEGUARD_TIMEOUT_HOURS", raising=False)
    assert collective_timeout() == timedelta(hours=24)
    monkeypatch.setenv("PRUNEGUARD_TIMEOUT_HOURS", "0.5")
    assert collective_timeout() == timedelta(minutes=30)
    for wrong in ("soon", "0", "-1", "inf", "nan"):
        monkeypatch.setenv("PRUNEGUARD_TIMEOUT_HOURS", wrong)
        with pytest.raises(ConfigError, match=f"PRUNEGUARD_TIMEOUT_HOURS is '{wrong}'; it must be a number of hours"):
            collective_timeout()


def test_only_the_main_process_encodes_prunes_and_draws(trained: Path) -> None:
    alone, first, second = (
        json.loads((trained / f"{name}.json").read_text()) for name in ("alone-0", "together-0", "together-1")
    )
    assert list(first["phases"]) == ["encode images", "encode captions", "prune", "draw glow", "train"]
    assert first["phases"] == alone["phases"]
    assert second["phases"] == {"train": 4}


def test_ctrl_c_in_one_process_stops_all_after_the_same_step(trained: Path) -> None:
    for name in ("together-0", "together-1"):
        assert json.loads((trained / f"{name}.json").read_text())["stopped"].startswith("stopped after step 2 of 4")


def test_only_the_main_process_speaks(trained: Path) -> None:
    assert f"next: pruneguard export --onnx --bundle {trained / 'together'}" in (trained / "together-0.txt").read_text()
    assert (trained / "together-1.txt").read_text() == ""


def test_two_processes_train_what_one_trains(trained: Path) -> None:
    bundles = [Bundle.open(trained / name) for name in ("alone", "together")]
    for bundle in bundles:
        bundle.verify()
        assert [stage.name for stage in bundle.manifest.stages] == ["prune", "train"]
    ours, theirs = (load_file(bundle.path / "model" / UNET) for bundle in bundles)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=5e-4)
    before = load_file(trained / "model" / UNET)["conv_in.weight"]
    assert not torch.allclose(ours["conv_in.weight"], before, rtol=0, atol=1e-3)
