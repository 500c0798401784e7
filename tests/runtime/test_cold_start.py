"""The cold-start benchmark runs and its numbers are plausible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "benchmarks.cold_start")


def test_it_measures_a_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [*PROGRAM, "--bundle", str(tiny_bundle), "--runs", "1", "--threads", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(out.read_text())
    assert found["command"].startswith("python -m benchmarks.cold_start --bundle")
    assert {"cpu", "cores", "commit", "versions"} <= found.keys()
    assert {"python", "numpy", "onnxruntime"} <= found["versions"].keys()
    results = found["summary"]
    # The import is timed in a process of its own, so on a busy machine it may be the slowest of all.
    assert results["import_s"]["median"] > 0
    assert 0 < results["loaded_s"]["median"] < results["first_image_s"]["median"]
    assert 20 < results["peak_resident_mib"]["median"] < 400


def test_a_broken_bundle_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([*PROGRAM, "--bundle", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not a bundle" in done.stderr and len(done.stderr.strip().splitlines()) == 1
