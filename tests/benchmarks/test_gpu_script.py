"""The GPU script at thin width on the CPU: the same code, so that a lease of a GPU finds it working."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("diffusers")
ROOT = Path(__file__).parents[2]


def test_thin_run_measures_everything_that_a_cpu_can(tmp_path: Path) -> None:
    out = tmp_path / "results" / "gpu.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu.run_all",
        "--thin",
        "--rounds",
        "2",
        "--warmup",
        "1",
        "--rows",
        "2",
    ]
    command += ["--config", str(tmp_path / "absent.json"), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert results["config"] == "embedded, thin"
    assert 0.5 < results["macs_ratio"] <= 0.58
    assert results["matmul_tflops"]["float32"] > 0
    sampled, trained = results["sampling_step_batch_2"], results["training_step"]
    assert sampled["dense_cuda_graph"] == {"error": "RuntimeError: CUDA graphs need a CUDA device"}
    timed = [sampled[f"{unet}_{way}"] for unet in ("dense", "pruned") for way in ("eager", "compile")]
    for found in [*timed, trained["lower_step"], trained["upper_step"]]:
        assert found["rounds"] == 2
        assert 0 < found["min_ms"] <= found["median_ms"] <= found["max_ms"]
        assert found["share_of_floor"] == pytest.approx(found["floor_ms"] / found["median_ms"], rel=0.05)
    dense, pruned = results["unet"]["dense"]["macs"], results["unet"]["pruned"]["macs"]
    assert sampled["dense_eager"]["gmacs"] == pytest.approx(2 * dense / 1e9, abs=1e-4)
    assert trained["lower_step"]["gmacs"] == pytest.approx(2 * (3 * pruned + dense) / 1e9, abs=1e-4)
    assert "pruned_eager" in done.stdout
    assert {"commit", "cpu", "versions", "command", "wall_s"} <= results.keys()


def test_missing_packages_are_named_without_a_folder_of_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gpu import run_all

    monkeypatch.setattr(run_all, "NEEDED", ("diffusers", "a_package_that_is_not_there"))
    with pytest.raises(SystemExit, match=r"a_package_that_is_not_there not installed; .* --wheels"):
        run_all.install_missing(None)
    with pytest.raises(SystemExit, match="pip could not install a_package_that_is_not_there"):
        run_all.install_missing(ROOT / "benchmarks")
