"""The lock on a run's folder: two runs that wrote the same checkpoints and caches would ruin both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pruneguard.errors import ConfigError
from pruneguard.staging import held

LOCK = "lock"


@contextmanager
def run_alone(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a run's folder for as long as the block runs. A folder that is left empty is removed.

    Raises ConfigError if another run holds the folder, or if it cannot be written.
    """
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
    """Removes the checkpoints and caches of a run whose lock the caller holds. The lock stays."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink()
