"""Folders of a run that are either whole or not there, even if the process dies while it writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pruneguard.errors import PruneguardError
from pruneguard.staging import locked, open_staging, swap_in, sync_tree


@contextmanager
def written_aside(target: Path, error: type[PruneguardError], what: str) -> Iterator[Path]:
    """Yields an empty folder beside `target`. On success it atomically replaces `target`; on an error it is removed.

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
