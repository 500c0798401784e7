"""Versions for records."""

from __future__ import annotations

import platform

import numpy

from pruneguard import __version__
from pruneguard.versions import versions


def test_what_is_not_installed_is_left_out() -> None:
    assert versions(["numpy", "no-such-package"]) == {
        "pruneguard": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }
