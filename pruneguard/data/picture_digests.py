"""Digests of picture files, by which a latent set knows what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from pruneguard.errors import DataError
from pruneguard.runs.aside import written_aside

_FOLDER, _FILE = "picture-digests", "digests.json"


def picture_digests(files: Iterable[Path], folder: Path | None = None) -> list[str]:
    """SHA-256 of the content of each file, so that a copy of the pictures elsewhere is the same data.

    With a `folder` the digests are kept there, by path, size and time of change, and a file that has not changed since
    is not read again. Raises DataError for a file that is missing or cannot be read, and for a folder that cannot be
    written.
    """
    known = _read(folder)
    found: dict[str, str] = {}
    digests = []
    for path in files:
        try:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns} {path.absolute()}"
            found[stamp] = known.get(stamp) or _digest(path)
        except FileNotFoundError:
            raise DataError(f"picture {path} does not exist; correct its name in the caption file, or add it") from None
        except OSError as error:
            raise DataError(f"picture {path} cannot be read ({error.strerror}); check its permissions") from None
        digests.append(found[stamp])
    if folder is not None and not found.keys() <= known.keys():
        with written_aside(folder / _FOLDER, DataError, "picture digests") as aside:
            (aside / _FILE).write_text(json.dumps({**known, **found}), encoding="utf-8")
    return digests


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path | None) -> dict[str, str]:
    """The digests that are kept; none if they cannot be read, because they can be computed again."""
    if folder is not None:
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((folder / _FOLDER / _FILE).read_text(encoding="utf-8"))
            if isinstance(kept, dict) and all(isinstance(value, str) for value in kept.values()):
                return kept
    return {}
