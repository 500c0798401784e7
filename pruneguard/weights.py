"""Looks at a model folder before any library reads it, so that what is wrong is said in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from pruneguard.errors import ModelError

LFS_POINTER = b"version https://git-lfs"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_HEADER_LIMIT = 100_000_000


def read_json(path: Path) -> dict[str, Any]:
    """The object in a configuration file. Raises ModelError where it is missing, a Git LFS pointer or not an object."""
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "give a whole diffusers folder, or download the model again"
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    _refuse_pointer(path, content)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); download the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: must hold a JSON object; download the model again")
    return value


def check_weights(folder: Path, name: str) -> None:
    """Raises ModelError unless `folder` has whole weights: `name`.safetensors, or shards and an index."""
    index = folder / f"{name}.safetensors.index.json"
    single = folder / f"{name}.safetensors"
    if single.exists():
        check_safetensors(single)
        return
    if index.exists():
        shards = read_json(index).get("weight_map", {})
        for shard in sorted(set(shards.values())):
            if Path(shard).name != shard:
                raise ModelError(f"{index}: names the shard {shard!r} outside its folder; download the model again")
            check_safetensors(folder / shard)
        return
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if any(file.endswith(PICKLES) for file in present):
        raise ModelError(
            f"{folder}: only pickled weights, which can run code when read; convert them to {single.name} with"
            " diffusers' save_pretrained(safe_serialization=True) on a machine you can lose"
        )
    variants = [file for file in present if file.startswith(name) and file.endswith(".safetensors")]
    if variants:
        raise ModelError(f"{folder}: only the variant {variants[0]}; rename it to {single.name}")
    raise ModelError(f"{single}: missing; download the model again")


def check_safetensors(path: Path) -> None:
    """Raises ModelError where the file is missing, a Git LFS pointer, or not as long as its header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            _refuse_pointer(path, start)
            length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
            file.seek(8)
            header = file.read(length) if 2 <= length <= min(size, _HEADER_LIMIT) else b""
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); download the model again") from error
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for key, tensor in tensors.items() if key != "__metadata__"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: truncated, or not a safetensors file; download it again") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        what = "truncated" if size < expected else "has bytes after its end"
        raise ModelError(f"{path}: {what} ({size} bytes, its header says {expected}); download it again")


def _refuse_pointer(path: Path, content: bytes) -> None:
    if content.startswith(LFS_POINTER):
        raise ModelError(f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository")
