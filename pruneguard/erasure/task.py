"""What an erasure is built from: models, concepts and seeds, and what is computed only when it is asked for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pruneguard.concepts import Concept, ParameterSet
from pruneguard.data.latents import LatentSet
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure.batches import UpperBatches
from pruneguard.erasure.parameters import select_parameters
from pruneguard.erasure.pool import build_pool
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import ConceptPool
from pruneguard.errors import ConfigError
from pruneguard.runs.processes import this_process
from pruneguard.runs.progress import OnProgress, silent
from pruneguard.text.minors import mentions_minors

if TYPE_CHECKING:
    from transformers import CLIPTextModel

    from pruneguard.models import Pipeline


@dataclass(frozen=True)
class ErasureTask:
    """One suppression to be done: in which student, of which concepts, by which teacher's knowledge.

    `pools` and `batches` make the teacher draw pictures, and `text_encoder` makes a copy; each does so on first access.
    An eraser that needs only text states touches neither and costs no drawing.
    """

    student: nn.Module
    """The UNet in training, not wrapped; its weights may still change when a checkpoint is loaded."""
    teacher: Pipeline
    """The frozen dense model, on the device of the run."""
    concepts: tuple[Concept, ...]
    data: LatentSet
    """The lower level's rows; none of them names or shows a concept."""
    diffusion: Diffusion
    settings: ErasureSettings
    seed: int
    folder: Path
    """Where latents that the teacher draws are kept."""
    on_progress: OnProgress = silent

    @property
    def sets(self) -> tuple[ParameterSet, ...]:
        """Names of the parameter sets that the upper level may change: the settings' own, or each concept's."""
        chosen = self.settings.parameters
        return tuple(concept.parameters if chosen == "auto" else chosen for concept in self.concepts)

    @cached_property
    def unet_parameters(self) -> dict[str, nn.Parameter]:
        """The student's weights in `sets`, as `unet.<name>`. Raises ConfigError where the student has none of them."""
        return {f"unet.{name}": parameter for name, parameter in select_parameters(self.student, self.sets).items()}

    @cached_property
    def empty_text(self) -> Tensor:
        """The empty prompt's states under the teacher, (1, L, D) float32 on the CPU."""
        return self.teacher.encode_text([""]).float().cpu()

    @cached_property
    def pools(self) -> Sequence[ConceptPool]:
        """The teacher's latents of each concept. The main process draws what is not kept yet; the others wait."""
        with this_process().main_process_first():
            return [
                build_pool(self.teacher, concept, self.settings, self.seed, self.folder, self.on_progress)
                for concept in self.concepts
            ]

    @cached_property
    def batches(self) -> UpperBatches:
        """Batches of concept latents over the pools. Raises ConfigError where `mixed` has no pictures to mix in."""
        return UpperBatches(
            self.pools,
            self._others(),
            self.settings.source,
            self.settings.implicit,
            self.diffusion,
            self.empty_text,
            self.settings.batch_size,
            self.seed,
        )

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """A trainable copy of the teacher's text encoder. An erasure that asks for it trains it."""
        encoder = copy.deepcopy(self.teacher.text_encoder).float().requires_grad_(True)
        return encoder.to(self.teacher.device)

    @property
    def trained_text_encoder(self) -> CLIPTextModel | None:
        """The copy, if an erasure has asked for it."""
        return self.__dict__.get("text_encoder")

    def _others(self) -> LatentSet | None:
        """Pictures to mix in; None unless the source mixes in pictures of the data set."""
        source = self.settings.source
        if source.kind != "mixed" or source.others != "data":
            return None
        # Pictures of minors must never meet a concept's prompt.
        others = self.data.where(lambda words: not mentions_minors(words))
        if not len(others):
            raise ConfigError("source 'mixed' has no pictures to mix in; use source 'noised', or add other data")
        return others
