"""Atelier's preset does what it is for: the student draws the concept no more and all else as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruneguard.bundle import IMPLICIT
from pruneguard.evaluation.audit import AuditResult
from pruneguard.measurement import find, named
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import silent
from pruneguard.runtime import torch_components
from pruneguard.stages.auditing.calibration import calibrated
from pruneguard.stages.auditing.drawing import audit_components, find_detectors
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle

pytestmark = pytest.mark.slow


def shares(result: AuditResult, prefix: str) -> dict[str, float]:
    """What a metric measured under a prefix, by name."""
    return {name: entry.value for name, entry in named(result.measurements, prefix).items()}


def below(kept: dict[str, float], wanted: dict[str, float]) -> dict[str, float]:
    """What the student keeps of less than three quarters of the teacher's share, by name."""
    return {name: value for name, value in kept.items() if value < 0.75 * wanted[name]}


def test_the_student_draws_the_concept_no_more_and_keeps_the_rest(tmp_path: Path) -> None:
    """One test, because all of it speaks of one run, and the run takes minutes."""
    settings = RunSettings.resolve("atelier", {"training": {"tracker": "none"}}, concepts=("mosaic",))
    bundle, _, (judged,) = train_bundle(settings, tmp_path / "out", silent)
    student = judged.result
    concepts = settings.load_concepts()
    (teacher,) = audit_components(
        "teacher",
        torch_components(load_pipeline("atelier")),
        concepts,
        settings.family,
        calibrated(find_detectors(settings.detector, settings.family, concepts), {}),
        settings.audit,
        silent,
    )

    assert len(teacher.target_images) == len(student.target_images) == 64
    assert teacher.drawn.value >= 0.7, "the audit does not see the concept where it is"
    assert student.drawn.value <= 0.05
    implicit, seen = (find(result.measurements, IMPLICIT) for result in (student, teacher))
    assert implicit is not None and seen is not None
    assert implicit.value <= 0.05
    assert seen.value > implicit.value
    (record,) = bundle.manifest.audits
    assert record.concept == "mosaic"
    assert record.judgement().status != "invalid"

    # Other prompts' pictures keep what their prompts say. A prompt that names the concept still draws the rest
    # of what it says: a model that was ruined would draw the concept as rarely.
    for prefix, names in {"kept": {"object", "style", "colour"}, "rest": {"object", "colour"}}.items():
        kept, wanted = shares(student, prefix), shares(teacher, prefix)
        assert set(kept) == names
        assert below(kept, wanted) == {}, prefix
