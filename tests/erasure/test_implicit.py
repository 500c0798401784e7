"""Prompts that call up a concept without naming it: pairing, steering, and what both levels do with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pruneguard.concepts import Concept
from pruneguard.erasure import ErasureTask, UpperStep
from pruneguard.erasure.contract import ERASERS, ConceptBatch
from pruneguard.erasure.implicit import (
    ImplicitSettings,
    SteeredRows,
    implicit_loss,
    steered,
    steering_of,
)
from pruneguard.errors import ConfigError
from pruneguard.registry import NoSettings


def test_steering_removes_a_component_of_a_mixture() -> None:
    concept, rest, p = torch.tensor([5.0, -1.0]), torch.tensor([1.0, 2.0]), 0.25
    mixture = p * concept + (1 - p) * rest
    assert_close(steered(mixture, concept, p / (1 - p)), rest)
    assert_close(steered(mixture, concept, 0.0), mixture)


class Predicts:
    """A denoiser whose prediction is the first number of its text states everywhere."""

    def __call__(self, x_t: Tensor, t: Tensor, *, encoder_hidden_states: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (encoder_hidden_states[:, :1, :1, None].expand_as(x_t) * torch.ones_like(x_t),)


def test_the_loss_asks_for_the_steered_prediction() -> None:
    zeros = torch.zeros(2, 3, 4)
    batch = ConceptBatch(
        noisy=torch.zeros(2, 1, 2, 2),
        timesteps=torch.tensor([1, 2]),
        text=zeros + 1,
        anchor_text=zeros,
        empty_text=zeros[:1],
        named_text=zeros + 4,
        implicit=torch.ones(2, dtype=torch.bool),
    )
    # The teacher says 1 for the prompt and 4 for the concept: with strength 2 the target is 1 + 2 (1 - 4) = -5.
    assert implicit_loss(Predicts(), Predicts(), batch, 2.0).item() == pytest.approx((1 - -5) ** 2)
    assert implicit_loss(Predicts(), Predicts(), batch, 0.0).item() == 0


def test_an_upper_step_weighs_its_rows_alike(task: ErasureTask) -> None:
    """The loss of a mixed batch is the mean over rows of the eraser's loss and the implicit loss."""

    def loss(unet: Any, teacher: Any, batch: ConceptBatch, settings: Any) -> Tensor:
        assert not batch.implicit.any()
        return torch.tensor(3.0)

    implicit = ImplicitSettings(share=0.5, empty=1.0)
    settings = replace(task.settings, implicit=implicit, batch_size=16)
    ERASERS.register("three", settings=NoSettings)(_gradient_eraser(loss))
    try:
        erasure = ERASERS.find("three").build(replace(task, settings=settings), NoSettings())
    finally:
        ERASERS.remove("three")
    batch = erasure.batch(0)  # type: ignore[attr-defined]
    unnamed = int(batch.implicit.sum())
    assert 0 < unnamed < 16
    alone = implicit_loss(task.student, task.teacher.unet, batch.where(batch.implicit), 1.0).item()
    found = erasure.upper(task.student, UpperStep(0))
    assert found is not None
    assert found.item() == pytest.approx((3.0 * (16 - unnamed) + alone * unnamed) / 16, rel=1e-5)


def _gradient_eraser(loss: Any) -> Any:
    from pruneguard.erasure.gradient import GradientEraser

    return GradientEraser(loss)


GLOW = Concept(
    name="glow",
    prompts=("a red disc in glow style", "a blue disc in glow style"),
    anchors=("a red disc", "a blue disc"),
    implicit_prompts=("a blue disc",),
    terms=("glow",),
)


def test_captions_that_leave_the_concept_unsaid_are_steered_away_from_the_prompt_that_says_it() -> None:
    text = torch.arange(2.0).view(2, 1, 1)
    steering = steering_of([GLOW], [text])
    found = steering.rows(
        ["a red star", "a blue disc", "", "a red disc in flat style"], torch.Generator().manual_seed(0)
    )
    assert found is not None
    assert found.rows.tolist() == [1, 2]
    assert found.text[0].item() == 1  # "a blue disc in glow style"
    assert steering.rows(["a red star"], torch.Generator().manual_seed(0)) is None


def test_steered_rows_follow_a_cut_of_their_batch() -> None:
    whole = SteeredRows(torch.tensor([1, 4, 4]), torch.arange(3.0).view(3, 1, 1))
    assert whole.within(2, 4) is None
    part = whole.within(3, 6)
    assert part is not None
    assert (part.rows.tolist(), part.text.flatten().tolist()) == ([1, 1], [1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"share": 1.5}, "`share` is 1.5"),
        ({"empty": -0.1}, "`empty` is -0.1"),
        ({"strength": float("nan")}, "`strength` is nan"),
        ({"lower": "away"}, "choose from steered, masked, teacher"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ImplicitSettings(**values)
