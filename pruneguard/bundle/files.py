"""The files of a folder and their digests. A bundle consists of plain files; links and special files are told apart."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from pruneguard.bundle.manifest import MANIFEST, FileRecord

_CHUNK = 1 << 20

Identity = tuple[int, ...]


def sha256_file(path: Path | str) -> str:
    """The SHA-256 digest of a regular file, read in chunks. Raises OSError, also for a symbolic link."""
    return read_file(Path(path))[0].sha256


def read_file(path: Path) -> tuple[FileRecord, Identity]:
    """Digest and size of a regular file, and its identity on the file system. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return FileRecord(digest.hexdigest(), size), identity(status)


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
