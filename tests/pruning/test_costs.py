from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from diffusers import UNet2DConditionModel

from pruneguard.macs import unet_macs
from pruneguard.pruning.costs import CostTable
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import random_plan
from pruneguard.pruning.surgery import apply_plan


@pytest.mark.parametrize(("seed", "linear"), [(0, True), (1, False), (2, True), (4, False)])
def test_arithmetic_equals_measurement(seed: int, linear: bool, make_unet: Callable[..., UNet2DConditionModel]) -> None:
    unet = make_unet(use_linear_projection=linear)
    table = CostTable.measure(unet, latent_size=16, text_tokens=9)
    plan = random_plan(unet, seed, remove=seed)
    assert len(plan.removed) == seed
    apply_plan(unet, plan)
    assert table.evaluate(plan) == unet_macs(unet, latent_size=16, text_tokens=9)


def test_a_pruned_unet_can_be_measured_and_pruned_again(unet: UNet2DConditionModel) -> None:
    apply_plan(unet, random_plan(unet, 1, remove=2))
    table = CostTable.measure(unet, text_tokens=5)
    again = random_plan(unet, 2, keep=0.8)
    apply_plan(unet, again)
    assert table.evaluate(again) == unet_macs(unet, text_tokens=5)


def test_a_step_at_a_time_adds_up(unet: UNet2DConditionModel) -> None:
    table = CostTable.measure(unet, text_tokens=5)
    blocks = [table.block(name, {}) for name in table.blocks]
    assert table.fixed.total + sum(block.total for block in blocks) == table.dense().total == unet_macs(
        copy.deepcopy(unet), text_tokens=5
    ).total  # fmt: skip


@pytest.mark.parametrize("name", ["sd14", "bk-sdm-v2-base"])
def test_real_architectures(name: str, real_unet: Callable[[str], UNet2DConditionModel]) -> None:
    unet = real_unet(name)
    table = CostTable.measure(unet)
    plan = random_plan(unet, 0, remove=2)
    apply_plan(unet, plan, fold=False)
    assert table.evaluate(plan) == unet_macs(unet)
    assert table.evaluate(PruningPlan()) == table.dense()
