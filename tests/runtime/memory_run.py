"""The growth of a process's peak memory while it loads an engine, in bytes.

python -m tests.runtime.memory_run FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime  # noqa: F401  the library itself does not count

from pruneguard.runtime import OnnxEngine


def peak() -> int:
    """The most memory that was resident so far, in bytes; unlike getrusage's, it leaves out the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    before = peak()
    OnnxEngine.from_folder(Path(sys.argv[1]), threads=1)
    print(peak() - before)
