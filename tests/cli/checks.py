"""What tests of the command line look at: the one line of an error, and every file of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

Fails = Callable[..., str]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 19660800\n"
UNET = "model/unet/diffusion_pytorch_model.safetensors"


def one_line(stderr: str, found: int, code: int = 1) -> str:
    lines = stderr.strip().splitlines()
    assert found == code, stderr
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    assert "unexpected" not in lines[0]
    return lines[0].removeprefix("error: ")


def digests(folder: Path) -> dict[str, str]:
    """Every file under a folder and what it holds."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
