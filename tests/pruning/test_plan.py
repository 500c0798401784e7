from __future__ import annotations

import json
from typing import Any

import pytest
from diffusers import UNet2DConditionModel

from pruneguard.errors import ConfigError
from pruneguard.models import PrunedUNet2DConditionModel
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import random_plan

RESNET = "mid_block.resnets.0"
ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn1"


def test_json_round_trip(unet: UNet2DConditionModel) -> None:
    plan = random_plan(unet, 0, remove=2)
    assert PruningPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert len(plan.removed) == 2


def test_runs_are_written_short_and_lists_are_read() -> None:
    plan = PruningPlan(resnets={RESNET: (0, 1, 2, 5, 7, 8)})
    assert plan.to_dict()["resnets"] == {RESNET: "0-2,5,7-8"}
    assert PruningPlan.from_dict({"resnets": {RESNET: [0, 1, 2, 5, 7, 8]}}) == plan


def test_a_plan_that_names_nothing_fits_and_keeps_all(unet: UNet2DConditionModel) -> None:
    PruningPlan().validate(unet)
    kept = PrunedUNet2DConditionModel.from_unet(unet, PruningPlan())
    assert {name: p.shape for name, p in kept.named_parameters()} == {n: p.shape for n, p in unet.named_parameters()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resnets": {RESNET: ()}}, "at least one must be kept"),
        ({"heads": {ATTENTION: (1, 0)}}, "ascending"),
        ({"heads": {ATTENTION: (0, 0)}}, "ascending"),
        ({"removed": (RESNET, RESNET)}, "named twice"),
    ],
)
def test_wrong_plans_are_not_made(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruningPlan(**values)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (PruningPlan(resnets={RESNET: (0, 8)}), "resnets of mid_block.resnets.0: index 8 is out of range, there are 8"),
        (PruningPlan(heads={RESNET: (0,)}), "no prunable layer 'mid_block.resnets.0'"),
        (PruningPlan(removed=("up_blocks.1.resnets.0",)), "cannot spare 'up_blocks.1.resnets.0'"),
        (PruningPlan(resnets={RESNET: (0,)}, removed=(RESNET,)), "lies in mid_block.resnets.0, which is removed"),
    ],
)
def test_plans_that_do_not_fit(plan: PruningPlan, message: str, unet: UNet2DConditionModel) -> None:
    with pytest.raises(ConfigError, match=message):
        plan.validate(unet)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": {}}, r"unknown fields \['width'\]"),
        ({"resnets": []}, "must map module names"),
        ({"resnets": {RESNET: "0-"}}, "must be runs"),
        ({"resnets": {RESNET: [True]}}, "must be runs"),
        ({"removed": "x"}, "list of module names"),
    ],
)
def test_unreadable_forms(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruningPlan.from_dict(values)
