"""Edits in closed form before a further round: when they are tried, when they stay, and what they rest on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import nn

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.evaluation.metrics.metric import METRICS
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families.atelier.data import from_atelier
from pruneguard.measurement import Measurement
from pruneguard.models import Pipeline
from pruneguard.registry import NoSettings
from pruneguard.runs.progress import Advance, silent
from pruneguard.stages.editing import Edits, has_cross_attention
from pruneguard.stages.proof import Proved, Validation, train_until_proved
from pruneguard.stages.settings import RunSettings
from pruneguard.training import TrainResult
from tests.models import same_weights
from tests.stages.test_proof import GLOW, Scripted
from tests.stages.test_train import TABLES

CHECK = 2
"""Calls of a detector in one check: pictures that ask for the concept, and others."""
PROMPTS = AuditPrompts(
    target=tuple(f"a disc in glow style, number {i}" for i in range(8)), other=("a star", "a ring in flat style")
)
KEPT = (Measurement(name="kept/shape", value=1.0),)


@pytest.fixture
def settings(tiny_folder: Path) -> Iterator[RunSettings]:
    """Settings whose checks have a metric of what is kept."""

    @METRICS.register("shape")
    def build(settings: NoSettings) -> Any:
        return lambda pictures: [Measurement(name="kept/shape", value=0.9, count=len(pictures.other))]

    audit = {"target": 8, "steps": 2, "limit": 0.35, "batch_size": 8, "metrics": ["shape"]}
    yield RunSettings.resolve(str(tiny_folder), {**TABLES, "audit": audit, "proof": {"rounds": 2, "share": 0.5}})
    METRICS.remove("shape")


@pytest.fixture
def data(tiny_pipeline: Pipeline) -> LatentSet:
    return from_atelier(tiny_pipeline, 16)


def prove(
    teacher: Pipeline,
    data: LatentSet,
    settings: RunSettings,
    folder: Path,
    detectors: dict[str, Scripted],
    *,
    concepts: tuple[Concept, ...] = (GLOW,),
    prompts: AuditPrompts = PROMPTS,
    kept: tuple[Measurement, ...] = KEPT,
    said: Any = silent,
) -> Proved:
    validation = Validation(dict.fromkeys(detectors, prompts), detectors, dict.fromkeys(detectors, kept))
    student = copy.deepcopy(teacher.unet)
    return train_until_proved(teacher, student, data, concepts, settings, validation, folder, said)


def test_an_edit_that_proves_a_concept_takes_the_place_of_a_round(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    said: list[Advance] = []
    detector = Scripted(bad=CHECK)
    proved = prove(tiny_pipeline, data, settings, tmp_path, {"glow": detector}, said=said.append)
    assert (proved.rounds, proved.steps, proved.edits, proved.missing) == (0, 2, 1, ())
    assert proved.show() == "2 steps with 0 further rounds and 1 edit in closed form"
    told = [advance.detail for advance in said if advance.phase == "prove"]
    assert told[1] == "after an edit: glow 0.0% (at most 31.2%)"
    trained, now = load_file(proved.result.checkpoint / "weights.safetensors"), proved.result.unet.state_dict()
    changed = {name for name in now if not now[name].equal(trained[f"unet.{name}"])}
    assert changed
    assert all(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in changed)


def test_an_edit_that_proves_nothing_is_dropped(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    detector = Scripted(bad=99)
    proved = prove(tiny_pipeline, data, settings, tmp_path / "tried", {"glow": detector})
    assert (proved.rounds, proved.edits, detector.calls) == (2, 0, 6 * CHECK)
    never = replace(settings, proof=replace(settings.proof, edit=False))
    plain = prove(tiny_pipeline, data, never, tmp_path / "never", {"glow": (untried := Scripted(bad=99))})
    assert untried.calls == 3 * CHECK
    assert same_weights(proved.result.unet, plain.result.unet)


class Ruined(Scripted):
    """A detector that sees the concept in its second check only."""

    def detect(self, images: Any, concept: Concept) -> Any:
        return super().detect(images, concept) & (CHECK < self.calls <= 2 * CHECK)


def test_an_edit_that_brings_another_concept_back_is_dropped(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    ice = replace(GLOW, name="ice", prompts=("a disc in ice style",), terms=("ice",))
    detectors = {"glow": Scripted(bad=CHECK), "ice": Ruined(bad=99)}
    proved = prove(tiny_pipeline, data, settings, tmp_path, detectors, concepts=(GLOW, ice))
    assert (proved.rounds, proved.edits, proved.missing) == (1, 0, ())


@pytest.mark.parametrize(
    ("changes", "calls"), [({"kept": ()}, CHECK), ({"prompts": replace(PROMPTS, other=())}, CHECK - 1)]
)
def test_nothing_is_edited_where_no_check_sees_what_it_costs(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path, changes: dict[str, Any], calls: int
) -> None:
    proved = prove(tiny_pipeline, data, settings, tmp_path, {"glow": Scripted(bad=calls)}, **changes)
    assert (proved.rounds, proved.edits, proved.missing) == (1, 0, ())


def test_an_edit_is_no_remedy_for_what_training_lost(
    tiny_pipeline: Pipeline, data: LatentSet, settings: RunSettings, tmp_path: Path
) -> None:
    said: list[Advance] = []
    kept = (Measurement(name="kept/shape", value=1.2),)  # more than the metric ever gives
    proved = prove(tiny_pipeline, data, settings, tmp_path, {"glow": Scripted(bad=0)}, kept=kept, said=said.append)
    assert (proved.rounds, proved.edits) == (2, 0)
    assert not any("edit" in advance.detail for advance in said)


def test_captions_that_are_no_prompts_are_not_preserved(tiny_pipeline: Pipeline, data: LatentSet) -> None:
    odd = replace(data, captions=("", "a child on a beach", *data.captions[2:]))
    result = TrainResult(tiny_pipeline, {}, Path())
    edited = Edits(tiny_pipeline, (GLOW,), odd).made(result)
    assert not same_weights(edited.unet, tiny_pipeline.unet)


def test_a_unet_may_have_lost_all_its_cross_attention(tiny_pipeline: Pipeline) -> None:
    assert has_cross_attention(tiny_pipeline.unet)
    assert not has_cross_attention(nn.Sequential(nn.Linear(2, 2)))


def test_an_edit_keeps_the_weights_dtype(tiny_pipeline: Pipeline, data: LatentSet) -> None:
    half = replace(tiny_pipeline, unet=copy.deepcopy(tiny_pipeline.unet).bfloat16())
    edited = Edits(tiny_pipeline, (GLOW,), data).made(TrainResult(half, {}, Path()))
    assert {str(value.dtype) for value in edited.unet.state_dict().values()} == {"torch.bfloat16"}
    assert not same_weights(edited.unet, half.unet)
