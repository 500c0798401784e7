"""Atomic replacement of folders and files: after a crash the old content is there or the new, never a mixture.

New content is written into a hidden staging folder beside its target, so that the last step is a rename within one file
system. The writer holds a lock (flock) on its staging folder. A staging folder without a lock belongs to a process that
died; the next writer of the same target removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

STAGING = "staging"
RETIRED = "retired"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def folder_aside(target: Path, *, check: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yields an empty staging folder; on success it atomically replaces the folder `target`.

    `check` is called immediately before the replacement, while other writers beside `target` wait; it stops the
    replacement by raising. After any failure the staging folder is removed and `target` keeps its old content. Missing
    folders above `target` are made. Raises OSError, and whatever the block or `check` raises.
    """
    target = target.absolute()
    with _staging(target) as folder:
        yield folder
        sync_tree(folder)
        with locked(target.parent):
            if check is not None:
                check()
            swap_in(folder, target)


@contextlib.contextmanager
def file_aside(path: Path, *, beside: Path | None = None, check: Callable[[], object] | None = None) -> Iterator[Path]:
    """Yields a temporary path; on success the file written there atomically replaces `path`.

    The temporary file has the name of `path`, so that its suffix still tells its format. Its staging folder stands
    beside `path`, or beside the folder `beside` if `path` lies in a folder that must hold nothing else. `check` and
    failures: as in `folder_aside`. Raises OSError, also if `path` exists and is not a regular file.
    """
    target = path.absolute()
    if target.exists() and not target.is_file():  # a rename would replace a device or a pipe
        raise FileExistsError(errno.EEXIST, "it exists and is not a file", str(path))
    neighbour = target if beside is None else beside.absolute()
    with _staging(neighbour) as folder:
        aside = folder / target.name
        yield aside
        _sync(aside, os.O_RDONLY | os.O_NOFOLLOW)
        with locked(neighbour.parent):
            if check is not None:
                check()
            aside.replace(target)
        sync_folder(target.parent)


def write_failure(error: Exception, target: Path) -> str:
    """One line for people about a failure to write `target`: the path, the reason and the remedy.

    `error` is an OSError, or safetensors' SafetensorError, which carries the number of the system's error in its text.
    """
    if isinstance(error, OSError):
        path, reason, number = error.filename or target, error.strerror or str(error), error.errno
    else:
        found = re.search(r"\(os error (\d+)\)", str(error))
        path, number = target, int(found[1]) if found else None
        reason = os.strerror(number) if number else str(error)
    if number in NO_SPACE:
        remedy = "free some space or choose another disk; the earlier content is untouched"
    else:
        remedy = "choose a folder that you may write to"
    return f"{path} cannot be written ({reason}); {remedy}"


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """An empty locked staging folder beside `target`, removed at the end."""
    folder, descriptor = open_staging(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def open_staging(target: Path) -> tuple[Path, int]:
    """An empty locked staging folder beside `target`, and the descriptor that holds its lock. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent):
        recover(target)
        remove_leftovers(target)
        folder = target.with_name(f".{target.name}.{STAGING}-{secrets.token_hex(8)}")
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _try_lock(descriptor)
    return folder, descriptor


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds an advisory lock on `folder` for a short critical section; does nothing if the system has no such locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            _flock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Holds the lock file `file` until the block ends or the process dies.

    Raises BlockingIOError if another process holds it, OSError if the file cannot be made. On a system without such
    locks nobody is kept out.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            _flock(descriptor, wait=False)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        if not os.fstat(descriptor).st_nlink:  # the previous holder has just removed the file
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(file))
        yield
    finally:
        os.close(descriptor)


def swap_in(staging: Path, target: Path) -> None:
    """Puts `staging` in the place of `target` and removes the old content. Call it with the parent folder locked.

    The two names are exchanged in one system call if the kernel can do that. Otherwise the old folder is first renamed
    to a retired one; if the process dies between the two renames, `recover` undoes the first. Raises OSError.
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


def recover(target: Path) -> None:
    """Restores the old folder of a writer that died between its two renames. Call it with the parent folder locked."""
    if not target.exists():
        for retired in siblings(target, RETIRED):
            retired.rename(target)
            return


def remove_leftovers(target: Path) -> None:
    """Removes the staging and retired folders of dead writers of `target`. Call it with the parent folder locked."""
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
    """The folders of `kind`, STAGING or RETIRED, that belong to `target`."""
    prefix = f".{target.name}.{kind}-"
    if not target.parent.is_dir():
        return []
    return sorted(entry for entry in target.parent.iterdir() if entry.name.startswith(prefix))


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two names atomically by renameat2(2).

    Returns False if the C library, the kernel or the file system has no such call. Raises OSError.
    """
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
    """Makes the entries of `folder` durable. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_tree(folder: Path) -> None:
    """Makes all files and folders under `folder` durable. Raises OSError, also for a write that failed late."""
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
        _flock(descriptor, wait=False)
    except OSError:
        return False
    return True


def _flock(descriptor: int, *, wait: bool) -> None:
    """Raises BlockingIOError if another process holds the lock, another OSError if the system has no such locks."""
    try:
        import fcntl  # absent outside POSIX systems, where bundles are still read
    except ImportError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
