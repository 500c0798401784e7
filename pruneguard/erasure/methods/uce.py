"""UCE: edit keys and values of cross-attention in closed form (Gandikota et al. 2024, arXiv:2308.14761).

The edit needs no pictures and no gradient. It reads nothing but the states of prompts, so the teacher draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from pruneguard.concepts.concept import Concept
from pruneguard.erasure.closed_form import Edit, find_edit
from pruneguard.erasure.contract import ERASERS, UpperStep
from pruneguard.erasure.pool import prompt_states
from pruneguard.erasure.task import ErasureTask
from pruneguard.errors import ConfigError, TrainingError
from pruneguard.text.prompts import check_prompts

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Tokens = Literal["last", "last-to-end"]


@dataclass(frozen=True, kw_only=True)
class UCESettings:
    """Weights of the terms of equation 7, and which text states they sum over."""

    tokens: Tokens = "last-to-end"
    """`last`: the state of the last subject token. `last-to-end`: the states from there to the end."""
    erase_scale: float = 1.0
    preserve_scale: float = 1.0
    ridge: float = 0.5
    """Weight of the distance to the old weights; it stands beside sums over all states."""
    preserve: tuple[str, ...] = ()
    """Prompts to preserve besides the concepts' neighbours and the empty prompt."""

    def __post_init__(self) -> None:
        for name in ("erase_scale", "preserve_scale", "ridge"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (name == "ridge" and value == 0):
                bound = "above 0" if name == "ridge" else "at least 0"
                raise ConfigError(f"eraser 'uce': `{name}` is {value}; it must be {bound}")
        check_prompts(self.preserve, "eraser 'uce', `preserve`")


@dataclass(frozen=True)
class EditRows:
    """The states that an edit works on; n rows to move, m rows to keep, width d."""

    concepts: Tensor
    """(n, d)."""
    guides: Tensor
    """(n, d); row i is where row i of `concepts` goes."""
    preserve: Tensor
    """(m, d)."""


def subject_positions(prompt: Sequence[int], anchor: Sequence[int]) -> tuple[int, int]:
    """Positions of the last token in which a prompt differs from its anchor, in the prompt and in the anchor.

    Both are token ids from the start token up to the last word. What both end with is no part of the subject: of
    "a disc in mosaic style" and "a disc in flat style" the positions are those of "mosaic" and "flat". An anchor that
    is the end of its prompt has its start token as the guide.
    """
    shared = 0
    while shared < min(len(prompt), len(anchor)) - 1 and prompt[-1 - shared] == anchor[-1 - shared]:
        shared += 1
    if shared == len(prompt) - 1:  # the start token stands in every prompt, so an edit must never move its state
        shared = 0
    return len(prompt) - 1 - shared, len(anchor) - 1 - shared


def word_tokens(pipeline: Pipeline, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt from the start token up to the last word, cut as `Pipeline.encode_text` cuts them."""
    end = pipeline.tokenizer.eos_token_id
    rows = pipeline.tokenizer(list(prompts), max_length=pipeline.text_tokens, truncation=True).input_ids
    return [row[: row.index(end)] for row in rows]


def edit_rows(
    pipeline: Pipeline, prompts: Sequence[str], anchors: Sequence[str], preserve: Sequence[str], tokens: Tokens
) -> EditRows:
    """The rows of an edit that draws `anchors[i]` for `prompts[i]` and keeps the prompts of `preserve`.

    `last` takes one state a prompt: the last subject token's, and the last word's of a prompt to preserve, which is
    the start token's of "". `last-to-end` takes all states from the last subject token to the end, prompt and anchor
    aligned there and as many as both have, and all states of a prompt to preserve. The guides themselves are preserved
    too, so that what is drawn instead stays as it was.
    """
    said, instead, kept = (prompt_states(pipeline, texts).double() for texts in (prompts, anchors, preserve))
    concepts, guides = [], []
    for i, (prompt, anchor) in enumerate(
        zip(word_tokens(pipeline, prompts), word_tokens(pipeline, anchors), strict=True)
    ):
        start, guide_start = subject_positions(prompt, anchor)
        count = 1 if tokens == "last" else pipeline.text_tokens - max(start, guide_start)
        concepts.append(said[i, start : start + count])
        guides.append(instead[i, guide_start : guide_start + count])
    keep = list(kept)
    if tokens == "last":
        keep = [kept[i, len(prompt) - 1 : len(prompt)] for i, prompt in enumerate(word_tokens(pipeline, preserve))]
    return EditRows(torch.cat(concepts), torch.cat(guides), torch.cat([*keep, *guides]))


def preserved_prompts(concepts: Sequence[Concept], extra: Sequence[str] = ()) -> tuple[str, ...]:
    """The empty prompt, `extra`, and the concepts' neighbours that name none of the concepts, each once."""
    kept = [text for concept in concepts for text in concept.neighbours]
    harmless = [text for text in kept if not any(concept.named_in(text) for concept in concepts)]
    return tuple(dict.fromkeys(["", *extra, *harmless]))


def edit_of(teacher: Pipeline, concepts: Sequence[Concept], settings: UCESettings) -> Edit:
    """The edit that draws each concept's anchors for its prompts."""
    rows = edit_rows(
        teacher,
        [prompt for concept in concepts for prompt in concept.prompts],
        [anchor for concept in concepts for anchor in concept.anchors],
        preserved_prompts(concepts, settings.preserve),
        settings.tokens,
    )
    return find_edit(
        rows.concepts,
        rows.guides,
        rows.preserve,
        erase_scale=settings.erase_scale,
        preserve_scale=settings.preserve_scale,
        ridge=settings.ridge,
    )


@torch.no_grad()
def edit_unet(unet: nn.Module, edit: Edit, reference: Mapping[str, Tensor] | None = None) -> None:
    """Edits all keys and values of cross-attention in place; `reference` has the weights of the targets, by name.

    By default these are the weights as they are. Raises TrainingError for an edit that is not finite.
    """
    for name, weight in keys_and_values(unet).items():
        edited = edit.apply(weight, weight if reference is None else reference[name])
        if not torch.isfinite(edited).all():
            raise TrainingError(f"eraser 'uce': the edit of {name} is not finite; raise its `ridge`")
        weight.copy_(edited)


@ERASERS.register("uce", settings=UCESettings)
class UCE:
    """Every upper step edits all keys and values of cross-attention.

    The concept's states go where the guides' states went in the weights before the first edit, the reference. Later
    edits keep these targets, so they undo what the lower level has moved and do not drift. All layers share the
    matrices of the edit, which depend on the teacher's text states alone. `erasure.parameters` does not change the set
    of weights.
    """

    edits: ClassVar[bool] = True

    def __init__(self, task: ErasureTask, settings: UCESettings) -> None:
        """Encodes the prompts. Raises ConfigError for a student without cross-attention."""
        self.parameters: Mapping[str, nn.Parameter] = keys_and_values(task.student)
        if not self.parameters:
            raise ConfigError("eraser 'uce': this UNet has no cross-attention; choose another eraser, such as 'esd'")
        self._edit = edit_of(task.teacher, task.concepts, settings)
        self._reference: dict[str, Tensor] = {}

    def upper(self, unet: nn.Module, step: UpperStep) -> None:
        """Edits the student's weights in place. Raises TrainingError for an edit that is not finite."""
        if not self._reference:
            self._reference = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        edit_unet(unet, self._edit, self._reference)

    def constrain(self, gradients: dict[str, Tensor]) -> None:
        """There is no gradient to change."""

    def state_dict(self) -> dict[str, Tensor]:
        """The reference: the edited weights as they were before the first edit; empty until then."""
        return dict(self._reference)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the reference."""
        self._reference = {name: tensor.to(self.parameters[name].device) for name, tensor in state.items()}


def keys_and_values(unet: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of `attn2.to_k` and `attn2.to_v`, (out, d) each, by name; blocks that pruning removed are not there."""
    return {
        f"unet.{name}.weight": module.get_parameter("weight")
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(("attn2.to_k", "attn2.to_v"))
    }
