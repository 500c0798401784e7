"""Folders of a run that are either whole or not there, whatever moment the process dies at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from pruneguard.errors import ConfigError, PruneguardError
from pruneguard.staging import held, locked, open_staging, swap_in, sync_tree

LOCK = "lock"


@contextmanager
def run_alone(folder: Path) -> Iterator[None]:
    """Holds a run's folder against a second run; one that is left empty goes. Raises ConfigError when one is in."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / LOCK))
        except BlockingIOError:
            raise ConfigError(f"another run is going on in {folder}; wait for it, or give another --out") from None
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written ({error.strerror}); choose a folder that you may write to"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                if [entry.name for entry in folder.iterdir()] == [LOCK]:
                    (folder / LOCK).unlink()
                folder.rmdir()
                folder.parent.rmdir()


def forget_run(folder: Path) -> None:
    """Removes the checkpoints and caches of a run that is held, and not the lock that holds it."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink()


@contextmanager
def written_aside(target: Path, error: type[PruneguardError], what: str) -> Iterator[Path]:
    """An empty folder beside `target` to write into; on leaving it takes `target`'s place, on an error it vanishes.

    A full disk, a missing permission or any other failure to write raises `error`, which begins with `what`.
    """
    try:
        staging, descriptor = open_staging(target)
        try:
            yield staging
            sync_tree(staging)
            with locked(target.parent):
                swap_in(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(descriptor)
    except (OSError, SafetensorError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
        raise error(
            f"{what} {target} cannot be written: {reason}; free space or allow writing there, then run again"
        ) from None
