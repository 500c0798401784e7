from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pruneguard.errors import ConfigError
from pruneguard.pruning.groups import width_layers
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import random_plan
from pruneguard.pruning.surgery import activation_means, apply_plan

Inputs = tuple[Tensor, Tensor, Tensor]
RESNET = "mid_block.resnets.0"


def run(unet: UNet2DConditionModel, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        output: Tensor = unet(*inputs, return_dict=False)[0]
    return output


def pruned(unet: UNet2DConditionModel, plan: PruningPlan, *, fold: bool = True) -> UNet2DConditionModel:
    result = copy.deepcopy(unet)
    apply_plan(result, plan, fold=fold)
    return result


@pytest.mark.parametrize("linear", [True, False])
def test_heads_and_neurons_equal_their_masks(
    linear: bool, make_unet: Callable[..., UNet2DConditionModel], inputs: Inputs
) -> None:
    unet = make_unet(use_linear_projection=linear)
    layers = width_layers(unet)
    plan = random_plan(unet, 3, remove=0)
    plan = PruningPlan(heads=plan.heads, neurons=plan.neurons)
    masked = copy.deepcopy(unet)
    for key, kept in plan.kept().items():
        module = masked.get_submodule(key.name)
        weight = (module.to_out[0] if key.kind == "heads" else module.net[2]).weight
        slots = weight.data.view(len(weight), layers[key].slots, -1)
        slots[:, [slot for slot in range(layers[key].slots) if slot not in kept]] = 0
    difference = (run(pruned(unet, plan), inputs) - run(masked, inputs)).abs().max()
    assert difference < 1e-6
    assert (run(unet, inputs) - run(masked, inputs)).abs().max() > 1e-3


def test_norm_groups_equal_a_mask_after_the_norm_and_differ_from_one_before_it(
    unet: UNet2DConditionModel, inputs: Inputs
) -> None:
    plan = PruningPlan(resnets={RESNET: (0, 2, 3, 6)})
    gone = [c for group in (1, 4, 5, 7) for c in range(8 * group, 8 * group + 8)]
    after, before = copy.deepcopy(unet), copy.deepcopy(unet)
    after.get_submodule(RESNET).conv2.weight.data[:, gone] = 0

    def gate(_: object, arguments: tuple[Tensor, ...]) -> Tensor:
        hidden = arguments[0].clone()
        hidden[:, gone] = 0
        return hidden

    before.get_submodule(RESNET).norm2.register_forward_pre_hook(gate)
    plain = run(pruned(unet, plan, fold=False), inputs)
    assert (plain - run(after, inputs)).abs().max() < 1e-6
    # A mask before the norm leaves conv2(SiLU(beta)) behind, away from the border the same everywhere.
    states = [torch.randn(1, 64, 6, 6), torch.randn(1, 128)]
    with torch.no_grad():
        rest = before.get_submodule(RESNET)(*states) - after.get_submodule(RESNET)(*states)
        block = unet.get_submodule(RESNET)
        activation = torch.nn.functional.silu(block.norm2.bias[gone])
        constant = (block.conv2.weight[:, gone].sum(dim=(2, 3)) @ activation)[None, :, None, None]
    assert (rest[:, :, 1:-1, 1:-1] - constant).abs().max() < 1e-5
    assert (rest[:, :, 0] - constant[:, :, 0]).abs().max() > 1e-2


def test_folding_the_mean_brings_a_resnet_closer_to_the_dense_one(unet: UNet2DConditionModel) -> None:
    plan = PruningPlan(resnets={RESNET: (0, 2, 3, 6)})
    states = [torch.randn(4, 64, 8, 8), torch.randn(4, 128)]
    with torch.no_grad():
        dense = unet.get_submodule(RESNET)(*states)
        errors = {
            fold: (pruned(unet, plan, fold=fold).get_submodule(RESNET)(*states) - dense).square().mean()
            for fold in (True, False)
        }
    assert errors[True] < 0.9 * errors[False]


def test_activation_means_agree_with_samples() -> None:
    gamma, beta = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([-1.0, 0.0, 0.7])
    samples = torch.nn.functional.silu(gamma * torch.randn(400_000, 3) + beta).mean(dim=0)
    assert (activation_means(gamma, beta, torch.nn.SiLU()) - samples).abs().max() < 0.01
    assert activation_means(torch.ones(1), torch.zeros(1), torch.nn.SiLU()).item() == pytest.approx(0.20662, abs=1e-4)


def test_removed_blocks_hand_their_input_on(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    names = ("down_blocks.0.resnets.0", "mid_block.attentions.0", "up_blocks.0.resnets.1", "up_blocks.1.attentions.0")
    result = pruned(unet, PruningPlan(removed=names))
    assert run(result, inputs).shape == inputs[0].shape
    hidden = torch.randn(1, 128, 4, 4)  # 64 channels and 64 of the skip
    assert torch.equal(result.get_submodule("up_blocks.0.resnets.1")(hidden, None), hidden[:, :64])
    transformer = result.get_submodule("mid_block.attentions.0")
    assert transformer(hidden, encoder_hidden_states=None, cross_attention_kwargs=None, return_dict=False)[0] is hidden
    assert transformer(hidden).sample is hidden
    assert not [name for name, _ in result.named_parameters() if name.startswith(names)]


def test_pruned_shapes_and_attributes(unet: UNet2DConditionModel) -> None:
    attention = "mid_block.attentions.0.transformer_blocks.0.attn2"
    feed_forward = "mid_block.attentions.0.transformer_blocks.0.ff"
    result = pruned(
        unet,
        PruningPlan(resnets={RESNET: (1, 7)}, heads={attention: (3,)}, neurons={feed_forward: tuple(range(0, 256, 2))}),
    )
    resnet, cross, ff = (result.get_submodule(name) for name in (RESNET, attention, feed_forward))
    assert (resnet.conv1.out_channels, resnet.conv2.in_channels, resnet.time_emb_proj.out_features) == (16, 16, 16)
    assert (resnet.norm2.num_groups, resnet.norm2.num_channels) == (2, 16)
    assert (cross.heads, cross.inner_dim, cross.to_k.weight.shape, cross.to_out[0].weight.shape) == (
        1, 16, (16, 16), (64, 16),
    )  # fmt: skip
    assert (ff.net[0].proj.out_features, ff.net[2].in_features) == (256, 128)
    source = unet.get_submodule(RESNET).conv1.weight
    assert torch.equal(resnet.conv1.weight, torch.cat([source[8:16], source[56:64]]))


def test_a_plan_that_does_not_fit_changes_nothing(unet: UNet2DConditionModel) -> None:
    before = {name: tensor.shape for name, tensor in unet.state_dict().items()}
    with pytest.raises(ConfigError):
        apply_plan(unet, PruningPlan(resnets={RESNET: (0,)}, heads={"nothing": (0,)}))
    assert {name: tensor.shape for name, tensor in unet.state_dict().items()} == before


def test_training_reaches_every_weight_that_stays(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    result = pruned(unet, random_plan(unet, 5, remove=2)).train()
    result(*inputs, return_dict=False)[0].square().mean().backward()
    assert [name for name, parameter in result.named_parameters() if parameter.grad is None] == []


def test_a_pruned_unet_can_be_traced_for_export(unet: UNet2DConditionModel, inputs: Inputs) -> None:
    result = pruned(unet, random_plan(unet, 0, remove=3))
    program = torch.export.export(result, inputs, {"return_dict": False})
    assert (program.module()(*inputs, return_dict=False)[0] - run(result, inputs)).abs().max() < 1e-6
