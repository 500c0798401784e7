"""UCE: edit keys and values of cross-attention in closed form (Gandikota et al. 2024, arXiv:2308.14761)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Tokens = Literal["last", "last-to-end"]


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


def words(pipeline: Pipeline, prompts: Sequence[str]) -> list[list[int]]:
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
    aligned there and as many as both have, and all states of a prompt to preserve.
    """
    said, instead, kept = (pipeline.encode_text(texts).double() for texts in (prompts, anchors, preserve))
    concepts, guides = [], []
    for i, (prompt, anchor) in enumerate(zip(words(pipeline, prompts), words(pipeline, anchors), strict=True)):
        start, guide_start = subject_positions(prompt, anchor)
        count = 1 if tokens == "last" else pipeline.text_tokens - max(start, guide_start)
        concepts.append(said[i, start : start + count])
        guides.append(instead[i, guide_start : guide_start + count])
    if tokens == "last":
        keep = [kept[i, len(prompt) - 1] for i, prompt in enumerate(words(pipeline, preserve))]
        return EditRows(torch.cat(concepts), torch.cat(guides), torch.stack(keep))
    return EditRows(torch.cat(concepts), torch.cat(guides), kept.flatten(0, 1))
