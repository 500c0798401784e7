"""Whatever a manifest says: the bundle is read, verified and served, or one of our errors is raised."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pruneguard.bundle import Manifest, formats
from tests.fuzz.harness import RESULT, Fault, Harness
from tests.fuzz.manifests import HarmedBundle, manifests
from tests.fuzz.tiers import tiers

DEADLINE = 20
"""Seconds."""
GROWTH = 64
"""MiB."""


@tiers(2000)
def test_every_manifest_is_served_or_refused_by_one_of_our_errors(bases: dict[Path, bytes], count: int) -> None:
    harness = Harness(DEADLINE, GROWTH)
    harness.explore(manifests(bases), HarmedBundle.load, count)
    assert harness.outcomes[RESULT] > count / 50
    assert harness.outcomes["invalid_bundle"] > count / 10
    assert {"lineage_broken", "invalid_config"} <= harness.outcomes.keys()


def test_a_manifest_whose_error_is_not_translated_is_found(
    bases: dict[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    unchecked = {**formats.READERS, 2: lambda document, where: msgspec.convert(document, Manifest)}
    monkeypatch.setattr(formats, "READERS", unchecked)
    with pytest.raises(Fault, match=r"ValidationError is not one of our errors: .*format-2: a file"):
        Harness(DEADLINE, GROWTH).explore(manifests(bases), HarmedBundle.load, 200)
