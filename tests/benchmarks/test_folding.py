"""The folding benchmark: what it removes and adds, and the numbers that it makes of the errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from benchmarks.folding import RESULT, VARIANTS, Errors, by_resnet, errors, pruned, random_halves, summarise
from pruneguard.measurement import find
from pruneguard.pruning import surgery
from tests.models import build_tiny_unet

ROOT = Path(__file__).parents[2]
RESNET = "mid_block.resnets.0"


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return build_tiny_unet()


def test_half_of_each_resnet_goes_and_a_seed_repeats(unet: UNet2DConditionModel) -> None:
    plan = random_halves(unet, 0)
    assert {len(kept) for kept in plan.resnets.values()} == {4}
    assert len(plan.resnets) == 8
    assert plan == random_halves(unet, 0) != random_halves(unet, 1)


def test_the_constant_is_what_a_gate_before_the_norm_leaves(unet: UNet2DConditionModel) -> None:
    plan = random_halves(unet, 0)
    gone = [c for group in range(8) if group not in plan.resnets[RESNET] for c in range(8 * group, 8 * group + 8)]
    states = [torch.randn(2, 64, 6, 6), torch.randn(2, 128)]

    def gate(_: object, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
        hidden = arguments[0].clone()
        hidden[:, gone] = 0
        return hidden

    resnet = unet.get_submodule(RESNET)
    with torch.no_grad():
        found = {variant: pruned(unet, plan, variant).get_submodule(RESNET)(*states) for variant in VARIANTS}
        resnet.norm2.register_forward_pre_hook(gate)
        gated = resnet(*states)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # at the border fewer taps see the constant
    assert (found["constant"] - gated)[inside].abs().max() < 1e-5
    assert (found["removed"] - gated)[inside].abs().max() > 1e-2
    assert (found["folded"] - gated)[inside].abs().max() > 1e-2


def test_errors_are_against_the_dense_output(unet: UNet2DConditionModel) -> None:
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([10, 700]), torch.randn(2, 5, 16))
    found = errors(unet, inputs, seed=0)
    with torch.no_grad():
        dense = unet(*inputs).sample
        student = pruned(unet, random_halves(unet, 0), "folded")(*inputs).sample
    expected = float((student - dense).square().sum()), float(dense.square().sum())
    assert found["folded"].unet == pytest.approx(expected, rel=1e-4)
    assert len(found["removed"].resnets) == 8
    assert all(0 < error < whole for error, whole in found["removed"].resnets.values())


def test_the_summary_of_two_seeds_by_hand() -> None:
    def row(factor: float) -> dict[str, Errors]:
        return {
            "removed": Errors({"a": (1.0, 10.0), "b": (4.0, 10.0)}, (2.0, 4.0)),
            "folded": Errors({"a": (2.0, 10.0), "b": (1.0 * factor, 10.0)}, (1.0 * factor, 4.0)),
            "constant": Errors({"a": (3.0, 10.0), "b": (5.0, 10.0)}, (3.0, 4.0)),
        }

    rows = [row(1.0), row(2.0)]
    found = summarise(rows, (0, 1), pictures=3)

    def value(name: str) -> float:
        entry = find(found, name)
        assert entry is not None and entry.protocol.settings["pictures"] == 3
        return entry.value

    assert value("error/one ResNet/removed") == pytest.approx(0.25)
    assert value("error/all ResNets/folded") == pytest.approx((3 / 20 + 4 / 20) / 2)
    assert value("error/UNet/removed") == 0.5
    assert value("against removed/UNet/folded") == pytest.approx((0.5 + 1.0) / 2)
    assert value("ResNets made worse/folded") == 0.5
    assert value("ResNets made worse/constant") == 1.0
    assert by_resnet(rows)["b"] == {"removed": 0.4, "folded": 0.15, "constant": 0.5}


def test_the_documentation_says_what_was_measured() -> None:
    found = {entry["name"]: entry["value"] for entry in json.loads((ROOT / RESULT).read_text())["measurements"]}
    said = " ".join(str(surgery.__doc__).split())
    for part in ("UNet", "all ResNets"):
        assert f"{found[f'against removed/{part}/folded']:.2f}" in said
    assert f"{found['ResNets made worse/folded']:.0%}" in said
