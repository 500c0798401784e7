"""How many cases are run: all of them in the slow tier, a tenth in the quick one."""

from __future__ import annotations

import pytest


def tiers(count: int) -> pytest.MarkDecorator:
    """Parametrises a test by `count`."""
    return pytest.mark.parametrize(
        "count", [pytest.param(count // 10, id="quick"), pytest.param(count, id="slow", marks=pytest.mark.slow)]
    )
