"""The files of a folder and their digests. A bundle consists of plain files; links and special files are told apart."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pruneguard.bundle.manifest import MANIFEST, FileRecord
from pruneguard.errors import BundleError

TEXT_LIMIT = 16 << 20
"""The most bytes of a configuration, a vocabulary or another text."""
_CHUNK = 1 << 20
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))

Identity = tuple[int, ...]


def sha256_file(path: Path | str) -> str:
    """The SHA-256 digest of a regular file, read in chunks. Raises OSError, also for a symbolic link."""
    return read_file(Path(path))[0].sha256


def read_file(
    path: Path, keep: Callable[[memoryview], object] | None = None, limit: int | None = None
) -> tuple[FileRecord, Identity]:
    """Digest and size of a regular file, and its identity on the file system. Raises OSError.

    `keep` gets exactly the bytes that are hashed, in pieces that it must copy. Reading stops within 1 MiB after `limit`
    bytes, so that a file that grows ends somewhere; the size then exceeds `limit`.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        while (limit is None or size <= limit) and (count := file.readinto(buffer)):
            digest.update(buffer[:count])
            if keep is not None:
                keep(buffer[:count])
            size += count
    return FileRecord(digest.hexdigest(), size), identity(status)


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError, also for a link and for a larger file."""
    with open_regular(path) as file:
        content = bytearray()
        while chunk := file.read(min(_CHUNK, limit + 1 - len(content))):
            content += chunk
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit >> 20} MiB", str(path))
    return bytes(content)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a configuration file of at most 16 MiB. Raises OSError and BundleError."""
    return parse_json(read_bounded(path, TEXT_LIMIT), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object of a configuration, which may hold infinities. Raises BundleError; `where` names the file."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is not valid JSON ({error}); export it again") from error
    if not isinstance(found, dict):
        raise BundleError(f"{where} must hold a JSON object; export it again")
    return found


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[io.FileIO]:
    """A regular file, open for reading. Raises OSError for a link, and for a pipe or device, without waiting for it."""
    descriptor = os.open(path, _FLAGS)
    with io.FileIO(descriptor) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def identity(status: os.stat_result) -> Identity:
    """Device, inode, links, size and times. Equal values mean that the file was not written in between."""
    return (status.st_dev, status.st_ino, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def scan(folder: Path) -> tuple[set[str], set[str]]:
    """Relative paths of plain files, and of links and special files, under `folder`; the manifest is left out."""
    plain: set[str] = set()
    odd: set[str] = set()
    for root, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(root, name)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            single = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            (plain if single else odd).add(path.relative_to(folder).as_posix())
    plain.discard(MANIFEST)
    return plain, odd


def listed(names: list[str]) -> str:
    """The first five names, and how many more there are."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
