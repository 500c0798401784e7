"""SalUn on the tiny model: what its masks keep, what then moves, and that a resumed run has the same masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pruneguard.erasure import ERASERS, Erasure, ErasureTask, UpperStep
from pruneguard.erasure.methods.salun import SalUnSettings, saliency_masks
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline
from pruneguard.registry import NoSettings
from pruneguard.settings import Choice


def build(task: ErasureTask, **options: Any) -> Erasure:
    return ERASERS.find("salun").build(task, ERASERS.settings(Choice("salun", options)))


def masks_of(erasure: Erasure) -> dict[str, Tensor]:
    return {name.removeprefix("mask."): mask for name, mask in erasure.state_dict().items()}


def upper_step(erasure: Erasure, unet: nn.Module, number: int = 0) -> None:
    """One AdamW step on the constrained upper gradient."""
    loss = erasure.upper(unet, UpperStep(number=number))
    assert loss is not None
    parameters = dict(erasure.parameters)
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    erasure.constrain(gradients)
    for name, parameter in parameters.items():
        parameter.grad = gradients[name]
    torch.optim.AdamW(parameters.values(), lr=1e-2, weight_decay=0.0).step()


# --- the masks ---


@pytest.mark.parametrize(("share", "kept"), [(0.5, 50), (0.29, 29), (0.001, 1), (1.0, 100)])
def test_masks_keep_the_share_of_the_largest_over_all_tensors(share: float, kept: int) -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    masks = saliency_masks({"small": 0.01 * values[:40].view(5, 8), "large": values[40:]}, share)
    pooled = torch.cat([0.01 * values[:40], values[40:]]).abs()
    wanted = torch.zeros(100, dtype=torch.bool)
    wanted[pooled.argsort(descending=True)[:kept]] = True
    assert masks["small"].shape == (5, 8)
    assert torch.equal(torch.cat([masks["small"].flatten(), masks["large"]]), wanted)


def test_of_equal_gradients_the_first_stay() -> None:
    masks = saliency_masks({"a": torch.tensor([1.0, -1.0, 3.0]), "b": torch.tensor([[1.0, 1.0], [0.0, 1.0]])}, 4 / 7)
    assert masks["a"].tolist() == [True, True, True]
    assert masks["b"].tolist() == [[True, False], [False, False]]


def test_the_masks_are_the_top_of_the_summed_gradient_of_the_masked_eraser(
    tiny_pipeline: Pipeline, task: ErasureTask
) -> None:
    erasure = build(task, of="anchor", share=0.3, batches=3)
    inner = ERASERS.find("anchor").build(task, NoSettings())
    assert set(erasure.parameters) == set(inner.parameters)
    parameters = list(inner.parameters.values())
    summed = torch.zeros(sum(parameter.numel() for parameter in parameters))
    for number in range(3):
        loss = inner.upper(task.student, UpperStep(number=number))
        assert loss is not None
        summed += torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, parameters)])
    erasure.upper(task.student, UpperStep(number=7))
    kept = torch.cat([mask.flatten() for mask in masks_of(erasure).values()])
    assert abs(int(kept.sum()) - 0.3 * len(summed)) <= 1
    assert summed.abs()[kept].min() >= summed.abs()[~kept].max()


def test_parts_of_a_step_do_not_change_the_masks(task: ErasureTask) -> None:
    whole, parts = build(task, batches=2), build(task, batches=2)
    whole.upper(task.student, UpperStep(number=0))
    parts.upper(task.student, UpperStep(number=0, part=1, parts=4))
    agree = [torch.eq(mask, masks_of(parts)[name]).float().mean() for name, mask in masks_of(whole).items()]
    assert min(agree) > 0.999


def test_before_the_first_upper_step_there_are_no_masks_and_then_they_stay(task: ErasureTask) -> None:
    erasure = build(task, batches=1)
    assert erasure.state_dict() == {}
    upper_step(erasure, task.student, 0)
    first = masks_of(erasure)
    upper_step(erasure, task.student, 1)
    assert all(torch.equal(mask, masks_of(erasure)[name]) for name, mask in first.items())


# --- what moves ---


@pytest.mark.parametrize(("of", "options"), [("esd", {"eta": 2.0}), ("anchor", {})])
def test_masked_weights_stay_and_the_others_move(
    tiny_pipeline: Pipeline, task: ErasureTask, of: str, options: dict[str, Any]
) -> None:
    erasure = build(task, of=of, options=options, share=0.4, batches=2)
    upper_step(erasure, task.student)
    before = dict(tiny_pipeline.unet.named_parameters())
    for name, parameter in erasure.parameters.items():
        moved = parameter.detach() != before[name.removeprefix("unet.")].detach()
        assert torch.equal(moved, masks_of(erasure)[name])


def test_the_loss_is_the_masked_erasers_own(task: ErasureTask) -> None:
    erasure = build(task, of="esd", options={"eta": 2.0}, batches=1)
    inner = ERASERS.find("esd").build(task, ERASERS.settings(Choice("esd", {"eta": 2.0})))
    step = UpperStep(number=4, part=1, parts=2)
    found, wanted = erasure.upper(task.student, step), inner.upper(task.student, step)
    assert found is not None
    assert wanted is not None
    assert torch.equal(found, wanted)


def test_a_share_of_one_changes_no_gradient(task: ErasureTask) -> None:
    erasure = build(task, share=1.0, batches=1)
    erasure.upper(task.student, UpperStep(number=0))
    gradients = {name: torch.full_like(parameter, 2.0) for name, parameter in erasure.parameters.items()}
    erasure.constrain(gradients)
    assert all((gradient == 2.0).all() for gradient in gradients.values())


# --- resumed ---


def test_a_resumed_run_has_the_masks_of_the_killed_one_whatever_the_weights_are_now(
    task: ErasureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = build(task, batches=1)
    killed.upper(task.student, UpperStep(number=0))
    kept = load(save(killed.state_dict()))
    with torch.no_grad():
        for parameter in task.student.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    resumed = build(task, batches=1)
    resumed.load_state_dict(kept)
    monkeypatch.setattr("pruneguard.erasure.methods.salun.saliency_masks", lambda *_: pytest.fail("computed again"))
    resumed.upper(task.student, UpperStep(number=1))
    assert set(masks_of(resumed)) == set(resumed.parameters)
    assert all(mask.dtype == torch.bool for mask in masks_of(resumed).values())
    assert all(torch.equal(mask, masks_of(resumed)[name]) for name, mask in masks_of(killed).items())


# --- what it refuses ---


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"of": "uce"}, "eraser 'salun': 'uce' edits weights and has no gradient to mask; set `of` to an eraser that"),
        ({"of": "salun"}, "eraser 'salun': `of` is 'salun' itself; choose the eraser to mask"),
        ({"of": "ezd"}, "unknown eraser 'ezd': did you mean 'esd'"),
        ({"of": "esd", "options": {"etta": 1.0}}, "eraser 'esd': unknown setting 'etta'"),
        ({"share": 0.0}, "`share` is 0.0; it must be above 0 and at most 1"),
        ({"share": 1.5}, "`share` is 1.5"),
        ({"batches": 0}, "`batches` is 0; it must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SalUnSettings(**options)
