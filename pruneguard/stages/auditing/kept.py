"""Measurements that a run keeps in its folder, so that what was drawn once is not drawn again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pruneguard.errors import ConfigError, DataError
from pruneguard.measurement import Measurement, read_measurements
from pruneguard.runs.aside import written_aside
from pruneguard.settings import plain

_FILE = "measurements.json"


def keep_measurements(folder: Path, what: str, measure: Callable[[], Sequence[Measurement]]) -> Sequence[Measurement]:
    """What the folder holds, or else what `measure` gives, which the folder holds from then on.

    `what` names it in errors. Raises DataError for a folder that cannot be read or written.
    """
    if folder.exists():
        return _read(folder, what)
    measured = measure()
    with written_aside(folder, DataError, what) as aside:
        (aside / _FILE).write_text(json.dumps(plain(list(measured)), indent=2))
    return measured


def _read(folder: Path, what: str) -> list[Measurement]:
    try:
        return read_measurements(json.loads((folder / _FILE).read_text()))
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise DataError(f"{what} {folder} cannot be read ({error}); delete the folder to draw it again") from None
