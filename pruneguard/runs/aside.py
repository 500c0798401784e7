"""Folders of a run that are either whole or not there, even if the process dies while it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pruneguard.errors import PruneguardError
from pruneguard.staging import folder_aside, write_failure


@contextmanager
def written_aside(target: Path, error: type[PruneguardError], what: str) -> Iterator[Path]:
    """Yields an empty folder beside `target`. On success it atomically replaces `target`; on an error it is removed.

    A full disk, a missing permission or any other failure to write raises `error`, which begins with `what`.
    """
    try:
        with folder_aside(target) as folder:
            yield folder
    except (OSError, SafetensorError) as failure:
        raise error(f"{what} {write_failure(failure, target)}") from None
