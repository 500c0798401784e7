"""The lock on a run's folder: two runs that write the same checkpoints and caches would ruin both."""

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
