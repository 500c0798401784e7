from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from pruneguard.errors import ConfigError
from pruneguard.macs import unet_macs
from pruneguard.pruning.costs import CostTable
from pruneguard.pruning.criteria import Scores, load_criterion
from pruneguard.pruning.groups import GroupKey, spare_blocks, width_layers
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import find_plan, random_plan
from pruneguard.pruning.surgery import apply_plan


def random_scores(unet: UNet2DConditionModel, seed: int) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    scores = {key: torch.rand(layer.slots, generator=generator) for key, layer in width_layers(unet).items()}
    return scores | {GroupKey("blocks", name): torch.rand(1, generator=generator) for name in spare_blocks(unet)}


@pytest.mark.parametrize(("budget", "seed"), [(0.45, 0), (0.58, 1), (0.9, 2)])
def test_the_budget_is_met_within_one_per_cent_and_never_exceeded(
    seed: int, budget: float, unet: UNet2DConditionModel
) -> None:
    dense = unet_macs(unet, latent_size=16, text_tokens=7).total
    plan = find_plan(unet, random_scores(unet, seed), budget=budget, latent_size=16, text_tokens=7)
    apply_plan(unet, plan)
    assert budget * 0.99 <= unet_macs(unet, latent_size=16, text_tokens=7).total / dense <= budget


@pytest.mark.parametrize("name", ["sd21-base", "bk-sdm-v1-small", "bk-sdm-v2-tiny"])
def test_real_architectures(name: str, real_unet: Callable[[str], UNet2DConditionModel]) -> None:
    unet = real_unet(name)
    table = CostTable.measure(unet)
    plan = find_plan(unet, random_scores(unet, 0))
    plan.validate(unet)
    assert 0.58 * 0.99 <= table.evaluate(plan).total / table.dense().total <= 0.58


def test_what_matters_least_goes_first(unet: UNet2DConditionModel) -> None:
    scores = load_criterion("magnitude")(unet)
    key = GroupKey("resnets", "up_blocks.1.resnets.1")
    scores[key][torch.tensor([2, 5])] = 0
    plan = find_plan(unet, scores, budget=0.95, max_removed=0)
    assert not {2, 5} & set(plan.resnets[key.name])


def test_every_layer_keeps_its_floor_and_neurons_go_in_eights(unet: UNet2DConditionModel) -> None:
    scores = random_scores(unet, 1)
    layers = width_layers(unet)
    plan = find_plan(unet, scores, budget=0.6, floor=0.4, max_removed=0)
    assert plan.removed == ()
    for key, kept in plan.kept().items():
        assert len(kept) >= 0.4 * layers[key].slots
        assert key.kind != "neurons" or (layers[key].slots - len(kept)) % 8 == 0


def test_depth_goes_up_to_the_limit_and_no_stage_loses_its_last(unet: UNet2DConditionModel) -> None:
    scores = random_scores(unet, 2)
    for name in spare_blocks(unet):
        scores[GroupKey("blocks", name)] = torch.zeros(1)
    assert len(find_plan(unet, scores, budget=0.4, max_removed=1).removed) == 1
    every = find_plan(unet, scores, budget=0.4, max_removed=9).removed
    assert set(every) == {"up_blocks.0.resnets.1", "up_blocks.1.resnets.1", "up_blocks.1.attentions.1"}


def test_the_whole_budget_changes_nothing(unet: UNet2DConditionModel) -> None:
    assert find_plan(unet, random_scores(unet, 0), budget=1.0) == PruningPlan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "budget is a share"),
        ({"budget": 1.5}, "budget is a share"),
        ({"tolerance": 0.0}, "tolerance is a share"),
        ({"floor": 2.0}, "floor is a share"),
        ({"max_removed": -1}, "max_removed must not be negative"),
        ({"budget": 0.05}, "the nearest that the search reaches is 0.[0-9]+; lower floor"),
    ],
)
def test_budgets_that_cannot_be_met(options: dict[str, Any], message: str, unet: UNet2DConditionModel) -> None:
    with pytest.raises(ConfigError, match=message):
        find_plan(unet, random_scores(unet, 0), **options)


def test_scores_of_another_unet_are_refused(unet: UNet2DConditionModel) -> None:
    with pytest.raises(ConfigError, match=r"resnets of down_blocks\.0\.resnets\.0: must be 8 finite numbers"):
        find_plan(unet, {})


def test_random_plans_repeat_by_seed_and_fit(unet: UNet2DConditionModel) -> None:
    plans = [random_plan(unet, seed, remove=2) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    plans[2].validate(unet)
