"""Audits in words, for the commands that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruneguard.bundle import Audit
    from pruneguard.measurement import Measurement


def rates(measured: Sequence[Measurement]) -> str:
    """The naming and the implicit rate with their bounds: "0.0% (at most 4.6%), implicit 1.6% (at most 7.2%)"."""
    from pruneguard.bundle import DRAWN, IMPLICIT
    from pruneguard.measurement import find, show

    named, implicit = find(measured, DRAWN), find(measured, IMPLICIT)
    shown = [show(named)] if named else []
    return ", ".join([*shown, f"implicit {show(implicit)}"] if implicit else shown) or "–"


def space(audit: Audit) -> str:
    """The space of settings that an audit covers; that of an earlier record is the sampler's own settings."""
    return audit.space.show() if audit.space else "the sampler's own settings"
