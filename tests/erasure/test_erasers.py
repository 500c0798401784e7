from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pruneguard.erasure import ERASERS, ConceptBatch, ErasureTask, SourceSettings, UpperStep
from pruneguard.erasure.methods.anchor import AnchorSettings, anchor_loss
from pruneguard.erasure.methods.esd import ESDSettings, esd_loss, esd_target
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline
from pruneguard.settings import Choice


class Recorded:
    """A denoiser that keeps the batch size of every call."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.calls: list[int] = []

    def __call__(self, x_t: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(len(x_t))
        return self.unet(x_t, *args, **kwargs)


@pytest.fixture
def batch(tiny_pipeline: Pipeline) -> ConceptBatch:
    generator = torch.Generator().manual_seed(1)
    return ConceptBatch(
        noisy=torch.randn(2, 4, 16, 16, generator=generator),
        timesteps=torch.tensor([100, 900]),
        text=tiny_pipeline.encode_text(["a red disc in glow style", "glow style, a blue ring"]),
        anchor_text=tiny_pipeline.encode_text(["a red disc in flat style", "flat style, a blue ring"]),
        empty_text=tiny_pipeline.encode_text([""]),
        named_text=tiny_pipeline.encode_text(["a red disc in glow style", "glow style, a blue ring"]),
        implicit=torch.zeros(2, dtype=torch.bool),
    )


def test_target_by_hand() -> None:
    cond, uncond = torch.tensor([3.0]), torch.tensor([1.0])
    assert esd_target(cond, uncond).item() == -1.0
    assert esd_target(cond, uncond, eta=0).item() == 1.0
    assert esd_target(cond, uncond, eta=2).item() == -3.0


def test_target_means_the_same_in_epsilon_and_v() -> None:
    generator = torch.Generator().manual_seed(0)
    x_t, v_cond, v_uncond = torch.randn(3, 5, generator=generator, dtype=torch.float64).unbind()
    alpha, sigma = 0.6, 0.8

    def to_epsilon(v: Tensor) -> Tensor:
        return v * alpha + x_t * sigma

    assert_close(
        to_epsilon(esd_target(v_cond, v_uncond, 1.7)), esd_target(to_epsilon(v_cond), to_epsilon(v_uncond), 1.7)
    )


def test_esd_asks_the_teacher_once_and_matches_its_formula(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    unet = tiny_pipeline.unet
    teacher = Recorded(unet)
    loss = esd_loss(unet, teacher, batch, ESDSettings(eta=1.0))
    assert teacher.calls == [4]
    with torch.no_grad():
        cond = unet(batch.noisy, batch.timesteps, batch.text).sample
        uncond = unet(batch.noisy, batch.timesteps, batch.empty_text.repeat(2, 1, 1)).sample
    # With student = teacher the error is (1 + eta) (cond - uncond).
    assert_close(loss, 4 * (cond - uncond).square().mean(), rtol=1e-4, atol=1e-9)
    (gradient,) = torch.autograd.grad(loss, unet.conv_in.weight)
    assert gradient.abs().max().item() > 0


def test_anchor_matches_its_formula(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    teacher = Recorded(tiny_pipeline.unet)
    loss = anchor_loss(tiny_pipeline.unet, teacher, batch, AnchorSettings())
    assert teacher.calls == [2]
    with torch.no_grad():
        said = tiny_pipeline.unet(batch.noisy, batch.timesteps, batch.text).sample
        meant = tiny_pipeline.unet(batch.noisy, batch.timesteps, batch.anchor_text).sample
    assert_close(loss, (said - meant).square().mean(), rtol=1e-4, atol=1e-9)
    same = replace(batch, anchor_text=batch.text)
    assert anchor_loss(tiny_pipeline.unet, teacher, same, AnchorSettings()).item() < 1e-12


def test_no_gradient_reaches_the_teacher(tiny_pipeline: Pipeline, batch: ConceptBatch) -> None:
    constant = torch.zeros(2, 4, 16, 16, requires_grad=True)
    loss = esd_loss(lambda *args, **kwargs: (constant,), tiny_pipeline.unet, batch, ESDSettings())
    wanted = torch.autograd.grad(loss, [constant, *tiny_pipeline.unet.parameters()], allow_unused=True)
    assert wanted[0] is not None
    assert all(gradient is None for gradient in wanted[1:])


def test_each_method_is_registered_under_its_name_with_its_settings() -> None:
    assert ERASERS.find("esd").settings is ESDSettings
    assert ERASERS.find("anchor").settings is AnchorSettings
    assert ERASERS.settings(Choice("esd", {"eta": 2})) == ESDSettings(eta=2.0)
    assert not ERASERS.find("esd").build.edits
    with pytest.raises(ConfigError, match=r"eraser 'esd': unknown setting 'etta': did you mean 'eta'\?"):
        ERASERS.settings(Choice("esd", {"etta": 1}))
    with pytest.raises(ConfigError, match=r"unknown eraser 'esdd': did you mean 'esd'\?"):
        ERASERS.find("esdd")
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="must be a number of at least 0"):
            ESDSettings(eta=wrong)


def test_an_erasure_gives_the_loss_of_its_share_of_the_batch(tiny_pipeline: Pipeline, task: ErasureTask) -> None:
    erasure = ERASERS.find("esd").build(task, ESDSettings())
    whole = task.batches.batch(3)
    assert not torch.equal(whole.noisy, task.batches.batch(2).noisy)
    for part in (0, 1):
        loss = erasure.upper(task.student, UpperStep(number=3, part=part, parts=2))
        rows = whole.rows(2 * part, 2 * part + 2)
        assert loss is not None
        assert_close(loss, esd_loss(task.student, tiny_pipeline.unet, rows, ESDSettings()), rtol=0, atol=0)


def test_an_erasure_may_change_the_tasks_parameter_sets(task: ErasureTask) -> None:
    erasure = ERASERS.find("anchor").build(task, AnchorSettings())
    named = {f"unet.{name}": parameter for name, parameter in task.student.named_parameters()}
    assert {name for name in named if ".attn2." in name and "norm" not in name} == set(erasure.parameters)
    assert all(parameter is named[name] for name, parameter in erasure.parameters.items())
    gradients = {name: torch.ones_like(parameter) for name, parameter in erasure.parameters.items()}
    erasure.constrain(gradients)
    assert all((gradient == 1).all() for gradient in gradients.values())
    assert erasure.state_dict() == {}


def test_a_task_draws_and_copies_only_what_is_asked_for(task: ErasureTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneguard.erasure.task.build_pool", lambda *_: pytest.fail("the teacher draws"))
    monkeypatch.setattr("pruneguard.erasure.task.mentions_minors", lambda _: pytest.fail("the data set is scanned"))
    assert task.empty_text.shape == (1, 32, 32)
    assert task.sets == ("x",)
    before, encoder, after = task.trained_text_encoder, task.text_encoder, task.trained_text_encoder
    assert before is None
    assert after is encoder is not task.teacher.text_encoder
    assert all(parameter.requires_grad for parameter in task.text_encoder.parameters())


def test_captions_are_searched_for_minors_only_if_data_pictures_are_mixed_in(
    task: ErasureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def none(words: str) -> bool:
        asked.append(words)
        return False

    monkeypatch.setattr("pruneguard.erasure.task.mentions_minors", none)
    for source in (
        SourceSettings(kind="noised"),
        SourceSettings(kind="partial"),
        SourceSettings(kind="mixed", others="anchors"),
    ):
        settings = replace(task.settings, source=source, partial_steps=4)
        assert replace(task, settings=settings).batches.others is None
    assert asked == []
    mixed = replace(task, settings=replace(task.settings, source=SourceSettings(kind="mixed"))).batches
    assert asked
    assert mixed.others is not None
    assert len(mixed.others) == len(task.data)
    monkeypatch.setattr("pruneguard.erasure.task.mentions_minors", lambda words: True)
    with pytest.raises(ConfigError, match="source 'mixed' has no pictures to mix in; use source 'noised'"):
        _ = replace(task, settings=replace(task.settings, source=SourceSettings(kind="mixed"))).batches


def test_rows_of_a_batch(batch: ConceptBatch) -> None:
    second = batch.rows(1, 2)
    assert second.timesteps.tolist() == [900]
    assert torch.equal(second.anchor_text, batch.anchor_text[1:])
    assert second.empty_text.shape == (1, 32, 32)
