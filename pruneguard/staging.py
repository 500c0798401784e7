"""Folders and files written aside and put in place in one step: after a crash there is the old or the new, never half.

The staging folder is a hidden sibling of the target, so that the last step is a rename within one file system. Its
writer holds an flock on it; a sibling that nobody holds was left by a process that died: the next writer removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

STAGING = "staging"
RETIRED = "retired"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def open_staging(target: Path) -> tuple[Path, int]:
    """An empty locked staging folder beside `target`, and the descriptor that holds its lock. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent):
        recover(target)
        remove_leftovers(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{STAGING}-", dir=target.parent))
        folder.chmod(0o777 & ~_umask())
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _try_lock(descriptor)
    return folder, descriptor


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds an advisory lock on `folder` for a short critical section; a file system without flock goes unlocked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Keeps other processes that ask for the same lock `file` out until the block ends or the process dies.

    Raises BlockingIOError when one is in, OSError where the file cannot be made; a file system without flock lets all
    in.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        if not os.fstat(descriptor).st_nlink:  # whoever was in has just removed it
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(file))
        yield
    finally:
        os.close(descriptor)


def swap_in(staging: Path, target: Path) -> None:
    """Puts `staging` in the place of `target`, whose old content is removed afterwards. Call with the parent locked.

    The two names are exchanged in one system call where the kernel can; elsewhere the old folder steps aside first, and
    `recover` undoes that if the process dies between the two renames. Raises OSError.
    """
    if not target.exists() or not any(target.iterdir()):
        staging.rename(target)
        sync_folder(target.parent)
        return
    if exchange(staging, target):
        retired = staging
    else:
        retired = target.with_name(f".{target.name}.{RETIRED}-{staging.name.rpartition('-')[2]}")
        target.rename(retired)
        try:
            staging.rename(target)
        except OSError:
            retired.rename(target)
            raise
    sync_folder(target.parent)
    shutil.rmtree(retired, ignore_errors=True)


@contextlib.contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Where to write a file of the name of `path`, which it replaces when the block ends well; otherwise it vanishes.

    It lies in a hidden folder beside `path`, so that an ending chosen by `path` is kept and two writers do not meet;
    one that was killed is cleaned up after by the next. Missing folders above `path` are made.
    Raises OSError, also where something that is not a file stands at `path`.
    """
    target = path.absolute()
    if target.exists() and not target.is_file():  # a rename would replace a device or a pipe
        raise FileExistsError(errno.EEXIST, "it exists and is not a file", str(path))
    folder, descriptor = open_staging(target)
    try:
        aside = folder / target.name
        yield aside
        _sync(aside, os.O_RDONLY | os.O_NOFOLLOW)
        aside.replace(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def recover(target: Path) -> None:
    """Puts back the old folder of a writer that died between its two renames. Call with the parent locked."""
    if not target.exists():
        for retired in siblings(target, RETIRED):
            retired.rename(target)
            return


def remove_leftovers(target: Path) -> None:
    """Removes what dead writers of `target` left beside it. Call with the parent locked."""
    for folder in [*siblings(target, STAGING), *siblings(target, RETIRED)]:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def siblings(target: Path, kind: str) -> list[Path]:
    """The staging or retired folders that belong to `target`."""
    prefix = f".{target.name}.{kind}-"
    if not target.parent.is_dir():
        return []
    return sorted(entry for entry in target.parent.iterdir() if entry.name.startswith(prefix))


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two names atomically by renameat2(2); False where the C library, kernel or file system cannot."""
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(second))


def sync_folder(folder: Path) -> None:
    """Makes the entries of `folder` durable."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Makes every file and folder under `folder` durable. Raises OSError, also for a write that failed late."""
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root, name), os.O_RDONLY | os.O_NOFOLLOW)
        sync_folder(Path(root))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _umask() -> int:
    # mkdtemp makes private folders; a bundle is an ordinary folder. Reading the mask means setting it for an instant.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
