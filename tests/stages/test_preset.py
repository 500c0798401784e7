"""Atelier's preset does what it is for: the student draws the concept no more and all else as before."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pruneguard.bundle import Bundle
from pruneguard.evaluation.audit import AuditResult
from pruneguard.measurement import named
from pruneguard.models import load_pipeline
from pruneguard.runs.progress import silent
from pruneguard.runtime import torch_components
from pruneguard.stages.audit import audit_components, find_detectors
from pruneguard.stages.settings import RunSettings
from pruneguard.stages.train import train_bundle

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("preset")]  # one run for all tests


@dataclass(frozen=True)
class Trained:
    """A run of the preset, and the same audit of the student and of its teacher."""

    bundle: Bundle
    student: AuditResult
    teacher: AuditResult


def shares(result: AuditResult, prefix: str) -> dict[str, float]:
    """What a metric measured under a prefix, by name."""
    return {name: entry.value for name, entry in named(result.measurements, prefix).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    settings = RunSettings.resolve("atelier", {"training": {"tracker": "none"}}, concepts=("mosaic",))
    bundle, _, (student,) = train_bundle(settings, tmp_path_factory.mktemp("preset") / "out", silent)
    concepts = settings.load_concepts()
    (teacher,) = audit_components(
        "teacher",
        torch_components(load_pipeline("atelier")),
        concepts,
        settings.family,
        find_detectors(settings.detector, settings.family, concepts),
        settings.audit,
        silent,
    )
    return Trained(bundle, student, teacher)


def test_the_audit_sees_the_concept_in_what_the_teacher_draws(trained: Trained) -> None:
    assert len(trained.teacher.target_images) == 64
    assert trained.teacher.drawn.value >= 0.9


def test_the_student_draws_the_concept_in_at_most_a_twentieth(trained: Trained) -> None:
    assert len(trained.student.target_images) == 64
    assert trained.student.drawn.value <= 0.05
    (record,) = trained.bundle.manifest.audits
    assert (record.concept, record.passed) == ("mosaic", True)


def test_the_student_keeps_what_the_concept_is_not(trained: Trained) -> None:
    """Object, style and colour of other prompts' pictures, each against the teacher's."""
    kept, wanted = shares(trained.student, "kept"), shares(trained.teacher, "kept")
    assert set(kept) == {"object", "style", "colour"}
    assert {name: value for name, value in kept.items() if value < 0.9 * wanted[name]} == {}


def test_a_prompt_that_names_the_concept_still_draws_the_rest_of_what_it_says(trained: Trained) -> None:
    """A model that was ruined would draw the concept as rarely."""
    kept, wanted = shares(trained.student, "rest"), shares(trained.teacher, "rest")
    assert set(kept) == {"object", "colour"}
    assert {name: value for name, value in kept.items() if value < 0.9 * wanted[name]} == {}
