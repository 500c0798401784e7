"""UCE on the tiny model: which states it moves, where they go, and what it keeps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pruneguard.concepts import Concept
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure import ERASERS, ErasureSettings, ErasureTask, UpperStep
from pruneguard.erasure.methods.uce import (
    UCESettings,
    edit_rows,
    preserved_prompts,
    subject_positions,
    word_tokens,
)
from pruneguard.errors import ConfigError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel
from pruneguard.pruning.plan import PruningPlan
from pruneguard.settings import Choice

MOSAIC = Concept(
    name="mosaic",
    prompts=("a disc in mosaic style", "mosaic style, a red ring"),
    anchors=("a disc in flat style", "flat style, a red ring"),
    neighbours=("a red star in outline style",),
    terms=("mosaic",),
)
PRESERVED = ("a red star in outline style", "")


@pytest.fixture
def task(tiny_pipeline: Pipeline, tmp_path: Path) -> ErasureTask:
    return build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path)


def build_task(pipeline: Pipeline, student: Any, folder: Path) -> ErasureTask:
    return ErasureTask(
        student=copy.deepcopy(student),
        teacher=pipeline,
        concepts=(MOSAIC,),
        data=from_atelier(pipeline, 2, seed=0),
        diffusion=Diffusion(pipeline.scheduler.alphas_cumprod, "v_prediction"),
        settings=ErasureSettings(),
        seed=0,
        folder=folder,
    )


def edited(task: ErasureTask, steps: int = 1, **options: Any) -> dict[str, Tensor]:
    """Keys' and values' weights after some upper steps, by name."""
    erasure = ERASERS.find("uce").build(task, UCESettings(**options))
    for number in range(steps):
        assert erasure.upper(task.student, UpperStep(number=number)) is None
    return {name: weight.detach() for name, weight in erasure.parameters.items()}


def weights(unet: Any, names: Any) -> dict[str, Tensor]:
    """The same weights of another UNet."""
    named = dict(unet.named_parameters())
    return {name: named[name.removeprefix("unet.")].detach() for name in names}


# --- the rows ---


def test_the_subject_is_what_differs_last() -> None:
    bos, a, disc, mosaic, flat, style = range(6)
    assert subject_positions([bos, a, disc, mosaic, style], [bos, a, disc, flat, style]) == (3, 3)
    assert subject_positions([bos, mosaic], [bos, flat]) == (1, 1)
    assert subject_positions([bos, a, disc, mosaic, style], [bos, a, disc]) == (4, 2)
    assert subject_positions([bos, mosaic, disc], [bos, disc]) == (1, 0)
    # The start token's state stands in every prompt: it is never moved.
    assert subject_positions([bos, disc], [bos, a, disc]) == (1, 2)


def test_positions_count_tokens_and_not_words(tiny_pipeline: Pipeline) -> None:
    long, short = word_tokens(tiny_pipeline, ["a zyzzyva disc", "a red disc"])
    assert [len(long), len(short)] == [10, 4]  # the vocabulary knows the strange word as seven tokens
    assert subject_positions(long, short) == (8, 2)


def test_last_takes_one_state_of_each_prompt(tiny_pipeline: Pipeline) -> None:
    rows = edit_rows(tiny_pipeline, MOSAIC.prompts, MOSAIC.anchors, PRESERVED, "last")
    said, instead, kept = (
        tiny_pipeline.encode_text(texts).double() for texts in (MOSAIC.prompts, MOSAIC.anchors, PRESERVED)
    )
    # "<start> a disc in mosaic style" and "<start> mosaic style , a red ring"
    assert torch.equal(rows.concepts, torch.stack([said[0, 4], said[1, 1]]))
    assert torch.equal(rows.guides, torch.stack([instead[0, 4], instead[1, 1]]))
    assert torch.equal(rows.preserve, torch.stack([kept[0, 6], kept[1, 0], *rows.guides]))


def test_last_to_end_aligns_prompt_and_anchor_at_the_subject(tiny_pipeline: Pipeline) -> None:
    prompts, anchors = ["a disc in mosaic style"], ["a disc"]
    rows = edit_rows(tiny_pipeline, prompts, anchors, PRESERVED, "last-to-end")
    said, instead = tiny_pipeline.encode_text(prompts).double(), tiny_pipeline.encode_text(anchors).double()
    # The prompt's subject ends at 5 and the anchor's at 2: 27 of 32 states follow in both.
    assert torch.equal(rows.concepts, said[0, 5:32])
    assert torch.equal(rows.guides, instead[0, 2:29])
    kept = tiny_pipeline.encode_text(PRESERVED).double()
    assert torch.equal(rows.preserve, torch.cat([*kept, rows.guides]))


def test_a_prompt_that_fills_the_text_length_is_cut_as_the_text_encoder_cuts_it(tiny_pipeline: Pipeline) -> None:
    (ids,) = word_tokens(tiny_pipeline, ["disc " * 100])
    assert len(ids) == tiny_pipeline.text_tokens - 1


def test_what_names_a_suppressed_concept_is_not_preserved() -> None:
    glow = Concept(
        name="glow", prompts=("glow",), anchors=("flat",), neighbours=("mosaic", "outline", "flat"), terms=("glow",)
    )
    assert preserved_prompts([glow], ["a cat", ""]) == ("", "a cat", "mosaic", "outline", "flat")
    assert preserved_prompts([glow, MOSAIC]) == ("", "outline", "flat", "a red star in outline style")


# --- the edit ---


@pytest.mark.parametrize(("tokens", "left", "lost"), [("last", 1e-3, 1e-3), ("last-to-end", 0.5, 0.05)])
def test_keys_and_values_of_the_concept_become_the_guides_and_others_stay(
    tiny_pipeline: Pipeline, task: ErasureTask, tokens: Any, left: float, lost: float
) -> None:
    """`left`: share of the way to the guide that stays. `lost`: relative change of what is preserved.

    55 states to the end of two prompts span more than the tiny model's 32 dimensions, so that both are compromises.
    """
    after = edited(task, tokens=tokens, ridge=1e-3)
    before = weights(tiny_pipeline.unet, after)
    rows = edit_rows(tiny_pipeline, MOSAIC.prompts, MOSAIC.anchors, preserved_prompts([MOSAIC]), tokens)
    concepts, guides, preserve = rows.concepts.float(), rows.guides.float(), rows.preserve.float()
    for name, old in before.items():
        new = after[name]
        distance = (concepts @ old.T - guides @ old.T).norm()
        assert (concepts @ new.T - guides @ old.T).norm() < left * distance
        assert (preserve @ new.T - preserve @ old.T).norm() < lost * (preserve @ old.T).norm()


def test_keys_and_values_of_cross_attention_change_and_nothing_else(tiny_pipeline: Pipeline, task: ErasureTask) -> None:
    after = edited(task)
    changed = {
        f"unet.{name}"
        for (name, new), old in zip(task.student.named_parameters(), tiny_pipeline.unet.parameters(), strict=True)
        if not torch.equal(new, old)
    }
    assert changed == set(after)
    assert all(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in after)
    # One transformer block in the down blocks, one in the middle, two in the up blocks.
    assert len(after) == 8


@pytest.mark.parametrize(("options", "bound"), [({"erase_scale": 0.0}, 0.0), ({"ridge": 1e12}, 1e-6)])
def test_limits_that_leave_the_weights(
    tiny_pipeline: Pipeline, task: ErasureTask, options: dict[str, Any], bound: float
) -> None:
    after = edited(task, **options)
    for name, old in weights(tiny_pipeline.unet, after).items():
        assert (after[name] - old).abs().max().item() <= bound


def test_many_edits_converge_under_the_defaults(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    once = edited(build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path), steps=1)
    often = edited(build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path), steps=200)
    for name, old in weights(tiny_pipeline.unet, once).items():
        assert (often[name] - old).norm() < 3 * (once[name] - old).norm()


def test_a_resumed_erasure_keeps_its_reference(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    task = build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path)
    first = ERASERS.find("uce").build(task, UCESettings())
    assert first.state_dict() == {}
    first.upper(task.student, UpperStep(number=0))
    second = ERASERS.find("uce").build(task, UCESettings())
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    first.upper(task.student, UpperStep(number=1))
    wanted = {name: weight.detach().clone() for name, weight in first.parameters.items()}
    other = build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path)
    before = ERASERS.find("uce").build(other, UCESettings())
    before.upper(other.student, UpperStep(number=0))
    resumed = ERASERS.find("uce").build(other, UCESettings())
    resumed.load_state_dict(second.state_dict())
    resumed.upper(other.student, UpperStep(number=1))
    assert all(torch.equal(resumed.parameters[name], tensor) for name, tensor in wanted.items())


def test_the_target_is_what_the_weights_of_that_moment_make_of_the_guide(
    tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    task = build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path)
    erasure = ERASERS.find("uce").build(task, UCESettings())
    with torch.no_grad():
        for weight in erasure.parameters.values():
            weight.mul_(3)
    erasure.upper(task.student, UpperStep(number=0))
    fresh = edited(build_task(tiny_pipeline, tiny_pipeline.unet, tmp_path))
    for name, weight in erasure.parameters.items():
        torch.testing.assert_close(weight.detach(), 3 * fresh[name])


def test_blocks_that_pruning_removed_are_not_there(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    plan = PruningPlan(removed=("mid_block.attentions.0",))
    pruned = PrunedUNet2DConditionModel.from_unet(tiny_pipeline.unet, plan)
    after = edited(build_task(tiny_pipeline, pruned, tmp_path))
    assert len(after) == 6
    assert not any("mid_block" in name for name in after)


def test_the_teacher_draws_nothing(task: ErasureTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneguard.erasure.task.build_pool", lambda *_: pytest.fail("the teacher draws"))
    edited(task)
    assert task.trained_text_encoder is None


def test_an_edit_gives_no_loss_and_has_no_state(task: ErasureTask) -> None:
    entry = ERASERS.find("uce")
    assert entry.build.edits
    erasure = entry.build(task, UCESettings())
    assert erasure.state_dict() == {}
    erasure.load_state_dict({})
    gradients: dict[str, Tensor] = {}
    erasure.constrain(gradients)
    assert gradients == {}


# --- what it refuses ---


def test_a_unet_without_cross_attention_is_refused(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    plain = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        cross_attention_dim=32,
        norm_num_groups=8,
    )
    with pytest.raises(ConfigError, match="'uce': this UNet has no cross-attention; choose another eraser"):
        ERASERS.find("uce").build(build_task(tiny_pipeline, plain, tmp_path), UCESettings())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ridge": 0.0}, "`ridge` is 0.0; it must be above 0"),
        ({"ridge": float("nan")}, "`ridge` is nan; it must be above 0"),
        ({"erase_scale": -1.0}, "`erase_scale` is -1.0; it must be at least 0"),
        ({"preserve_scale": float("inf")}, "`preserve_scale` is inf; it must be at least 0"),
        ({"preserve": ("a child",)}, "`preserve`: 'a child' mentions minors"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        UCESettings(**options)


def test_a_word_that_is_no_variant_is_refused() -> None:
    with pytest.raises(ConfigError, match="eraser 'uce': `tokens`"):
        ERASERS.settings(Choice("uce", {"tokens": "first"}))
