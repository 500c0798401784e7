"""Edits of a trained student in closed form, for concepts that the gradient left above their limit.

An edit takes seconds. It replaces keys and values of cross-attention at the concepts' prompts by those at the anchors,
whatever eraser and parameter set the training had. Source: UCE, see `pruneguard.erasure.methods.uce`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.erasure.closed_form import Edit
from pruneguard.erasure.methods.uce import UCESettings, edit_of, edit_unet, keys_and_values
from pruneguard.erasure.pool import evenly
from pruneguard.models import Pipeline
from pruneguard.text.prompts import without_minors
from pruneguard.training import TrainResult
from pruneguard.training.trainer import without_concepts

RIDGE = 30.0
"""Weight of the distance to the weights before an edit; UCE's own 0.5 makes the weights several times larger."""
PRESERVED = 300
"""Captions of the training data that an edit preserves, at most, besides the concepts' neighbours."""


@dataclass(frozen=True)
class Edits:
    """The edit of these concepts, found when it is first needed."""

    teacher: Pipeline
    concepts: Sequence[Concept]
    data: LatentSet

    @cached_property
    def _edit(self) -> Edit:
        kept = without_concepts(self.data, self.concepts)
        captions = (kept.caption(row) for row in evenly(min(PRESERVED, len(kept)), len(kept)))
        preserve = without_minors(caption for caption in captions if caption.strip())
        return edit_of(self.teacher, self.concepts, UCESettings(ridge=RIDGE, preserve=preserve))

    def made(self, result: TrainResult) -> TrainResult:
        """The result with an edited copy of its UNet; its checkpoint keeps the weights before.

        Raises TrainingError for an edit that cannot be found, and ConfigError if every caption names a concept.
        """
        unet = copy.deepcopy(result.unet)
        edit_unet(unet, self._edit)
        return replace(result, pipeline=replace(result.pipeline, unet=unet))


def has_cross_attention(unet: nn.Module) -> bool:
    """Whether pruning left anything to edit."""
    return bool(keys_and_values(unet))
