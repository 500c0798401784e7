"""Versions of the software that computed a result, for records and reports."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata

from pruneguard import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of pruneguard, Python and `packages` by distribution name, without packages that are not installed."""
    found = {"pruneguard": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
