from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_run_killed_at_random_moments_ends_with_equal_weights(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "20"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "killed 20, equal\n"
