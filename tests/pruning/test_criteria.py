from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pruneguard.errors import ConfigError
from pruneguard.pruning.costs import CostTable
from pruneguard.pruning.criteria import CRITERIA, criterion, load_criterion, marginal_importances, reads_data
from pruneguard.pruning.groups import GroupKey, columns, consumer, spare_blocks, width_layers

Inputs = tuple[Tensor, Tensor, Tensor]


def loss(unet: UNet2DConditionModel, batch: Inputs) -> Tensor:
    value: Tensor = unet(*batch, return_dict=False)[0].square().mean()
    return value


def test_the_registry_has_data_free_and_data_driven_criteria() -> None:
    assert (reads_data("magnitude"), reads_data("taylor")) == (False, True)
    with pytest.raises(ConfigError, match="unknown criterion 'tailor': did you mean 'taylor'\\? choose from magnitude"):
        load_criterion("tailor")
    with pytest.raises(ConfigError, match="criterion 'taylor' is registered twice"):
        criterion("taylor")(load_criterion("taylor").score)


def test_a_new_criterion_is_found_by_its_name(unet: UNet2DConditionModel) -> None:
    @criterion("slots", reads_data=True)
    def slots(unet: UNet2DConditionModel, batches: Any = None, loss: Any = None) -> dict[GroupKey, Tensor]:
        return {key: torch.ones(layer.slots) for key, layer in width_layers(unet).items()}

    try:
        assert reads_data("slots")
        scores = load_criterion("slots")(unet)
        assert {len(score) for score in scores.values()} == {layer.slots for layer in width_layers(unet).values()}
    finally:
        CRITERIA.remove("slots")


@pytest.mark.parametrize("name", ["magnitude", "taylor"])
def test_every_slot_and_spare_block_has_a_score(name: str, unet: UNet2DConditionModel, inputs: Inputs) -> None:
    weights = copy.deepcopy(unet.state_dict())
    scores = load_criterion(name)(unet, [inputs], loss)
    shapes = {key: (layer.slots,) for key, layer in width_layers(unet).items()}
    shapes |= {GroupKey("blocks", block): (1,) for block in spare_blocks(unet)}
    assert {key: tuple(score.shape) for key, score in scores.items()} == shapes
    assert all(bool((score >= 0).all()) and bool(torch.isfinite(score).all()) for score in scores.values())
    assert all(torch.equal(weights[key], value) for key, value in unet.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in unet.parameters())


def test_importance_grows_as_a_layer_empties() -> None:
    assert marginal_importances(torch.tensor([1.0, 1.0, 2.0])) == pytest.approx([1, 4 / 3, 4])
    assert marginal_importances(torch.ones(4), together=2) == pytest.approx([2, 4])
    assert marginal_importances(torch.zeros(2)) == [0, 0]


def test_magnitude_compares_layers_within_their_kind(unet: UNet2DConditionModel) -> None:
    scores, costs = load_criterion("magnitude")(unet), CostTable.measure(unet)
    for kind in ("resnets", "heads", "neurons"):
        each = [score.mean() / costs.slots[key].total for key, score in scores.items() if key.kind == kind]
        assert torch.stack(each).mean().item() == pytest.approx(1, abs=1e-5)
    key = GroupKey("heads", "mid_block.attentions.0.transformer_blocks.0.attn1")
    consumer(unet, key).weight.data[:, 16:32] *= 2
    again = load_criterion("magnitude")(unet)[key]
    assert (again[1] / again[0]).item() == pytest.approx(4 * (scores[key][1] / scores[key][0]).item(), rel=1e-4)


def test_magnitude_ignores_a_scale_that_the_norm_cancels(unet: UNet2DConditionModel) -> None:
    before = load_criterion("magnitude")(unet)
    unet.mid_block.resnets[0].conv1.weight.data[:8] *= 100
    after = load_criterion("magnitude")(unet)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    "key",
    [
        GroupKey("resnets", "mid_block.resnets.0"),
        GroupKey("heads", "up_blocks.1.attentions.0.transformer_blocks.0.attn1"),
        GroupKey("neurons", "mid_block.attentions.0.transformer_blocks.0.ff"),
    ],
)
def test_taylor_is_the_derivative_by_a_gate(key: GroupKey, make_unet: Any, inputs: Inputs) -> None:
    unet = make_unet().double()
    batch = (inputs[0].double(), inputs[1], inputs[2].double())
    scores = load_criterion("taylor")(unet, [batch], loss)[key]
    slot, step, weight = 1, 1e-5, consumer(unet, key).weight.data
    index, original = columns((slot,), weight.shape[1], len(scores)), weight.clone()
    values = []
    for gate in (1 + step, 1 - step):
        weight.copy_(original)
        weight[:, index] *= gate
        with torch.no_grad():
            values.append(loss(unet, batch).item())
    assert scores[slot].item() == pytest.approx(abs(values[0] - values[1]) / (2 * step), rel=1e-4)


def test_taylor_of_a_block_is_the_derivative_by_its_gate(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    unet = unet.double()
    batch = (inputs[0].double(), inputs[1], inputs[2].double())
    name, step = "up_blocks.0.resnets.1", 1e-5
    score = load_criterion("taylor")(unet, [batch], loss)[GroupKey("blocks", name)]
    values = []
    for gate in (1 + step, 1 - step):
        hook = unet.get_submodule(name).register_forward_hook(
            lambda _, given, output, gate=gate: given[0][:, : output.shape[1]] * (1 - gate) + output * gate
        )
        with torch.no_grad():
            values.append(loss(unet, batch).item())
        hook.remove()
    assert score.item() == pytest.approx(abs(values[0] - values[1]) / (2 * step), rel=1e-4)


def test_taylor_averages_absolute_values_over_batches(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    taylor = load_criterion("taylor")
    other = (inputs[0] * 2, *inputs[1:])
    both = taylor(unet, [inputs, other], loss)
    each = [taylor(unet, [batch], loss) for batch in (inputs, other)]
    for key, score in both.items():
        assert torch.allclose(score, (each[0][key] + each[1][key]) / 2, rtol=1e-4)


def test_taylor_leaves_frozen_weights_frozen(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    unet.requires_grad_(False)
    load_criterion("taylor")(unet, [inputs], loss)
    assert not any(parameter.requires_grad for parameter in unet.parameters())


@pytest.mark.parametrize(
    ("batches", "function", "message"),
    [
        (None, loss, "needs batches and a loss"),
        ([], loss, "got no batches"),
        ([None], lambda unet, _: unet.conv_in.weight.sum() * float("nan"), "the loss is nan"),
    ],
)
def test_taylor_without_what_it_needs(
    batches: Any, function: Callable[..., Tensor], message: str, unet: UNet2DConditionModel
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_criterion("taylor")(unet, batches, function)
