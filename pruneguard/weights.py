"""Checks a model folder before a library reads it, so that a damaged or unsuitable file gets an error of one line."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pruneguard.errors import ModelError, shown

LFS_POINTER = b"version https://git-lfs"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
TEXTS = (".json", ".txt")
TEXT_LIMIT = 16 << 20
"""The most bytes of a configuration, an index or a vocabulary."""
MAX_SIZE = 2**20
"""The largest whole number in a configuration: channels, positions, tokens and timesteps have fewer."""
MAX_LAYERS, MAX_LEVELS = 64, 64
"""The most layers of a block or an encoder, and the most entries of a list such as that of the levels' channels."""
_UNSIZED = ("pruning_plan", "trained_betas")  # their lists are long; what reads them checks them
_WHOLE = "give a whole diffusers folder, or download the model again"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a configuration file.

    Raises ModelError if the file cannot be read, is a Git LFS pointer, or holds anything but a JSON object.
    """
    try:
        with _open_regular(path) as file:
            content = file.read(TEXT_LIMIT + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {_WHOLE}") from error
    if len(content) > TEXT_LIMIT:
        raise ModelError(f"{path}: larger than {TEXT_LIMIT >> 20} MiB, so not a configuration; {_WHOLE}")
    _refuse_pointer(path, content)
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ModelError(f"{path}: not a configuration, it is nested too deeply; download the model again") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); download the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: must hold a JSON object; download the model again")
    return value


def check_sizes(path: Path) -> None:
    """Raises ModelError for a configuration with a size at which building the model would take all memory or hours."""
    _check_sizes(path, "", read_json(path))


def _check_sizes(path: Path, name: str, value: object) -> None:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in _UNSIZED:
                _check_sizes(path, str(key), entry)
    elif isinstance(value, list):
        if len(value) > MAX_LEVELS:
            raise ModelError(f"{path}: `{name}` has {len(value)} entries; at most {MAX_LEVELS} are read; {_WHOLE}")
        for entry in value:
            _check_sizes(path, name, entry)
    elif isinstance(value, int):
        most = MAX_LAYERS if "layers" in name else MAX_SIZE
        if abs(value) > most:
            raise ModelError(f"{path}: `{name}` is {shown(value)}; at most {most} is read; {_WHOLE}")


def check_files(folder: Path) -> None:
    """Raises ModelError for a pipe or device in `folder`, on which a library would wait, and for a text over 16 MiB."""
    try:
        for path in sorted(folder.iterdir()):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise ModelError(f"{path}: not a regular file; {_WHOLE}")
            if path.suffix in TEXTS and status.st_size > TEXT_LIMIT:
                raise ModelError(f"{path}: larger than {TEXT_LIMIT >> 20} MiB, so not a configuration; {_WHOLE}")
    except OSError as error:
        raise ModelError(f"{error.filename or folder}: cannot be read ({error.strerror}); {_WHOLE}") from error


def check_weights(folder: Path, name: str) -> None:
    """Raises ModelError unless `folder` has whole weights: `name`.safetensors, or an index and all its shards."""
    single, index = folder / f"{name}.safetensors", folder / f"{name}.safetensors.index.json"
    if single.exists():
        check_safetensors(single)
    elif index.exists():
        for shard in _shards(index):
            check_safetensors(folder / shard)
    else:
        raise ModelError(_missing(folder, name))


def check_safetensors(path: Path) -> None:
    """Raises ModelError unless `path` is a whole safetensors file: it exists, and its length fits its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with _open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            _refuse_pointer(path, file.read(len(LFS_POINTER)))
        with safe_open(path, framework="numpy"):
            return
    except (OSError, ValueError) as error:  # a name with a NUL or half a surrogate pair is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path}: cannot be read ({reason}); download the model again") from error
    except SafetensorError as error:
        if "file not fully covered" not in str(error):  # the header itself is wrong
            reason = str(error).removeprefix("Error while deserializing header: ")
            raise ModelError(f"{path}: truncated, or not a safetensors file ({reason}); download it again") from error
        expected = _stated_size(path)
        what = "truncated" if size < expected else "has bytes after its end"
        raise ModelError(f"{path}: {what} ({size} bytes, its header says {expected}); download it again") from error


def check_tokenizer(folder: Path) -> None:
    """Raises ModelError unless `folder` has a vocabulary: without one the library makes a tokenizer of two tokens."""
    if (folder / "tokenizer.json").is_file():
        return
    missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder}: has neither tokenizer.json nor {' and '.join(missing)}; {_WHOLE}")


def _stated_size(path: Path) -> int:
    """Bytes of the whole file by its own header, which safetensors has found to be valid."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + int(length) + max(ends, default=0)


def _shards(index: Path) -> list[str]:
    """File names of all shards that an index names. Raises ModelError."""
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        raise ModelError(f"{index}: `weight_map` must map tensors to files; download the model again")
    for shard in shards.values():
        if Path(shard).name != shard:
            raise ModelError(f"{index}: names the shard {shard!r} outside its folder; download the model again")
    return sorted(set(shards.values()))


def _missing(folder: Path, name: str) -> str:
    """What to say if a folder has no weights that can be loaded."""
    present = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if any(file.endswith(PICKLES) for file in present):
        return (
            f"{folder}: only pickled weights, which can run code when read; convert them to {name}.safetensors with"
            " diffusers' save_pretrained(safe_serialization=True) on a machine you can lose"
        )
    variants = [file for file in present if file.startswith(name) and file.endswith(".safetensors")]
    if variants:
        return f"{folder}: only the variant {variants[0]}; rename it to {name}.safetensors"
    return f"{folder / name}.safetensors: missing; download the model again"


@contextlib.contextmanager
def _open_regular(path: Path) -> Iterator[BinaryIO]:
    """A regular file, open for reading. A pipe is a ModelError instead of a wait for its writer. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError(f"{path}: not a regular file; {_WHOLE}")
        yield file


def _refuse_pointer(path: Path, content: bytes) -> None:
    if content.startswith(LFS_POINTER):
        raise ModelError(f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository")
