"""Atelier's preset does what it is for: the student draws the concept no more and all else as before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pruneguard.bundle import DRAWN, IMPLICIT
from pruneguard.measurement import Measurement, find, named
from pruneguard.runs.progress import silent
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle

pytestmark = pytest.mark.slow


def rate(measured: Sequence[Measurement], name: str) -> Measurement:
    found = find(measured, name)
    assert found is not None, name
    return found


def shares(measured: Sequence[Measurement], prefix: str) -> dict[str, float]:
    """What a metric measured under a prefix, by name."""
    return {name: entry.value for name, entry in named(measured, prefix).items()}


def below(kept: dict[str, float], wanted: dict[str, float]) -> dict[str, float]:
    """What the student keeps of less than three quarters of the teacher's share, by name."""
    return {name: value for name, value in kept.items() if value < 0.75 * wanted[name]}


def test_the_student_draws_the_concept_no_more_and_keeps_the_rest(tmp_path: Path) -> None:
    """One test, because all of it speaks of one run, and the run takes minutes."""
    settings = RunSettings.resolve("atelier", {"training": {"tracker": "none"}}, concepts=("mosaic",))
    bundle, _, _ = train_bundle(settings, tmp_path / "out", silent)
    (record,) = bundle.manifest.audits
    student, teacher = record.measurements, record.control

    assert record.concept == "mosaic"
    assert record.judgement().status != "invalid"
    assert rate(teacher, DRAWN).value >= 0.7, "the audit does not see the concept where it is"
    assert rate(student, DRAWN).value <= 0.05
    assert rate(student, IMPLICIT).value <= 0.05
    assert rate(teacher, IMPLICIT).value > rate(student, IMPLICIT).value
    for name, count in ((DRAWN, 96), (IMPLICIT, 96)):
        assert rate(student, name).count == rate(teacher, name).count == count

    # Other prompts' pictures keep what their prompts say. A prompt that names the concept still draws the rest
    # of what it says: a model that was ruined would draw the concept as rarely.
    for prefix, names in {"kept": {"object", "style", "colour"}, "rest": {"object", "colour"}}.items():
        kept, wanted = shares(student, prefix), shares(teacher, prefix)
        assert set(kept) == names
        assert below(kept, wanted) == {}, prefix
