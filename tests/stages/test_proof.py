"""Rounds of training until small audits say that the proof holds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.errors import ConfigError
from pruneguard.evaluation.prompts import AuditPrompts, prompts_apart
from pruneguard.families import find_family
from pruneguard.families.atelier.concepts import atelier_concept
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.runs.progress import Advance, silent
from pruneguard.settings import override
from pruneguard.stages.proof import (
    Proved,
    Validation,
    round_settings,
    set_apart,
    train_until_proved,
    trained_concepts,
)
from pruneguard.stages.settings import ProofSettings, RunSettings
from tests.processes import run_script
from tests.stages.test_train import TABLES

PROMPTS = AuditPrompts(target=tuple(f"a disc in glow style, number {i}" for i in range(8)), other=())


class Scripted:
    """A detector that sees the concept in all pictures of its first checks, and in none later."""

    name = "scripted"

    def __init__(self, bad: int) -> None:
        self.bad, self.calls = bad, 0

    def check(self, concept: Concept) -> None: ...

    def detect(self, images: Any, concept: Concept) -> NDArray[np.bool_]:
        self.calls += 1
        return np.full(len(images), self.calls <= self.bad)


@pytest.fixture
def settings(tiny_folder: Path) -> RunSettings:
    audit = {"target": 8, "steps": 2, "limit": 0.35, "batch_size": 8}
    tables = {**TABLES, "audit": audit, "proof": {"rounds": 2, "share": 0.5, "target": 8, "other": 0}}
    return RunSettings.resolve(str(tiny_folder), tables)


@pytest.fixture
def data(tiny_pipeline: Pipeline) -> LatentSet:
    return from_atelier(tiny_pipeline, 16)


GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc in flat style",), terms=("glow",))


def prove(
    teacher: Pipeline, data: LatentSet, settings: RunSettings, detector: Scripted, folder: Path, said: Any = silent
) -> Proved:
    student = copy.deepcopy(teacher.unet)
    validation = Validation({"glow": PROMPTS}, {"glow": detector}, {})
    return train_until_proved(teacher, student, data, [GLOW], settings, validation, folder, said)


def test_training_goes_on_until_its_own_audit_passes(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    said: list[Advance] = []
    proved = prove(tiny_pipeline, data, settings, Scripted(bad=1), tmp_path, said.append)
    assert (proved.rounds, proved.steps, proved.missing) == (1, 3, ())  # two steps, and half as many again
    told = [(advance.done, advance.detail) for advance in said if advance.phase == "prove"]
    assert told == [(0, "waits for glow: 100.0% (at most 100.0%) drawn, limit 35.0%"), (1, "glow 0.0% (at most 31.2%)")]


def test_a_run_that_gives_up_says_what_it_reached(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    proved = prove(tiny_pipeline, data, settings, Scripted(bad=9), tmp_path)
    assert (proved.rounds, proved.steps) == (2, 4)
    assert proved.missing == ("glow: 100.0% (at most 100.0%) drawn, limit 35.0%",)
    lacks = "; its own checks still find glow: 100.0% (at most 100.0%) drawn, limit 35.0%"
    assert proved.show() == f"4 steps with 2 further rounds{lacks}"
    assert replace(proved, rounds=1, missing=()).show() == "4 steps with 1 further round"


def test_a_run_that_is_proved_at_once_trains_no_further(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    detector = Scripted(bad=0)
    proved = prove(tiny_pipeline, data, settings, detector, tmp_path)
    assert (proved.rounds, proved.missing, detector.calls) == (0, (), 1)


def test_concepts_that_were_missing_are_looked_at_first_and_the_rest_once_they_hold(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    detectors = {"glow": Scripted(bad=0), "ice": Scripted(bad=2)}
    ice = replace(GLOW, name="ice", prompts=("a disc in ice style",), terms=("ice",))
    validation = Validation({"glow": PROMPTS, "ice": PROMPTS}, detectors, {})
    student = copy.deepcopy(tiny_pipeline.unet)
    proved = train_until_proved(tiny_pipeline, student, data, [GLOW, ice], settings, validation, tmp_path, silent)
    assert (proved.rounds, proved.missing) == (2, ())
    assert {name: detector.calls for name, detector in detectors.items()} == {"glow": 2, "ice": 3}


def test_a_finished_run_is_neither_trained_nor_drawn_again(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    first = prove(tiny_pipeline, data, settings, Scripted(bad=1), tmp_path)
    detector = Scripted(bad=0)
    again = prove(tiny_pipeline, data, settings, detector, tmp_path)
    assert detector.calls == 0
    assert (again.rounds, again.steps) == (first.rounds, first.steps)
    pairs = zip(first.result.unet.parameters(), again.result.unet.parameters(), strict=True)
    assert all(before.equal(after) for before, after in pairs)


def test_processes_go_on_together_although_only_the_main_one_looks(tmp_path: Path) -> None:
    run_script("tests.stages.prove_together", tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert (first["rounds"], first["steps"]) == (1, 3)


def test_a_further_round_has_batches_of_its_own_and_lower_rates(settings: RunSettings) -> None:
    training = override(settings.training, {"steps": 100, "lower": {"lr": 4e-4, "warmup": 50}})
    later = round_settings(training, ProofSettings(share=0.3, rate=0.5), begun=100)
    assert (later.steps, later.begun, later.lower.lr, later.lower.warmup) == (30, 100, 2e-4, 6)
    assert later.seed == training.seed


def test_a_short_run_and_upper_steps_that_are_counted_apart_have_rounds_too(settings: RunSettings) -> None:
    short = override(settings.training, {"steps": 5, "schedule": {"name": "alternating", "every": 3}})
    assert round_settings(short, ProofSettings(), begun=5).steps == 3  # an upper step comes after three
    staged = override(settings.training, {"steps": 100, "schedule": {"name": "two-stage", "upper_steps": 200}})
    later = round_settings(staged, ProofSettings(share=0.3), begun=100)
    assert (later.steps, later.schedule.options["upper_steps"]) == (30, 60)


def test_checks_draw_as_many_pictures_as_audits_unless_they_are_told() -> None:
    settings = RunSettings.resolve("atelier", {"audit": {"target": 128}, "proof": {"implicit": 80}})
    assert (settings.checks.target, settings.checks.implicit, settings.checks.other) == (128, 80, 48)
    with pytest.raises(ConfigError, match=r"\[proof\], whose checks are small audits: audit: target: 2 pictures"):
        RunSettings.resolve("atelier", {"proof": {"target": 2}})


def test_validation_prompts_are_neither_trained_nor_audited() -> None:
    family = find_family("atelier")
    settings, concept = RunSettings(model="atelier"), atelier_concept("mosaic")
    prompts = set_apart(family, [concept], settings)["mosaic"]
    (trained,) = trained_concepts([concept], {"mosaic": prompts})
    prompts.check(trained)  # none of them is trained
    audited = family.audit_prompts(concept, settings.audit)
    assert not {*prompts.target, *prompts.implicit} & {*audited.target, *audited.implicit}
    assert len(set(prompts.implicit)) >= 5
    # An edit in closed form preserves the neighbours, so what is kept is measured on none of them either.
    assert not {*trained.neighbours} & {*prompts.other, *audited.other}
    assert set_apart(family, [concept], replace(settings, proof=ProofSettings(rounds=0))) == {}


def test_a_concept_of_the_users_gives_a_fourth_of_its_prompts_if_it_has_enough() -> None:
    texts = tuple(f"the tower, view {i}" for i in range(64))
    tower = Concept(name="tower", prompts=texts, anchors=texts, terms=("tower",))
    prompts = prompts_apart(tower, target=20, implicit=20)
    assert prompts is not None
    assert len(set(prompts.target)) == 16 and prompts.target[16:] == prompts.target[:4]
    # The choice follows the texts, so a list that goes through four templates in turn does not lose one of them.
    templates = {texts.index(text) % 4 for text in prompts.target}
    assert templates == {0, 1, 2, 3}
    (trained,) = trained_concepts([tower], {"tower": prompts})
    assert len(trained.prompts) == len(trained.anchors) == 48
    few = replace(tower, prompts=texts[:63], anchors=texts[:63])
    assert prompts_apart(few, target=20, implicit=20) is None


@pytest.mark.parametrize("values", [{"rounds": -1}, {"target": 0}, {"share": 0.0}, {"rate": 1.5}])
def test_wrong_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="proof: "):
        ProofSettings(**values)
