"""Versions of what computed something, for records and reports."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata

from pruneguard import __version__


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of pruneguard, of Python and of `packages`, by distribution name; one not installed is left out."""
    found = {"pruneguard": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
