"""The batch of each upper step: a function of seed and step number alone, so that a resumed run repeats nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pruneguard.diffusion.counters import counter_generator
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure.contract import ConceptBatch
from pruneguard.erasure.implicit import ImplicitSettings
from pruneguard.erasure.sources import ConceptPool, Rows, SourceSettings, draw_concept_batch


@dataclass(frozen=True)
class UpperBatches:
    """The upper level's batches. The concepts take turns: each batch is of one concept."""

    pools: Sequence[ConceptPool]
    others: Rows | None
    """Pictures to mix in; None for a source that mixes in none of the data set."""
    source: SourceSettings
    implicit: ImplicitSettings
    diffusion: Diffusion
    empty_text: Tensor
    """(1, L, D)."""
    batch_size: int
    """Rows of a batch."""
    seed: int

    def batch(self, number: int) -> ConceptBatch:
        """The whole batch of upper step `number`, on the CPU; `UpperStep.share` takes a process's rows from it."""
        return draw_concept_batch(
            self.pools[number % len(self.pools)],
            self.others,
            self.source,
            self.implicit,
            count=self.batch_size,
            total_timesteps=len(self.diffusion.alphas_cumprod),
            diffuse=self.diffusion.diffuse,
            empty_text=self.empty_text,
            generator=counter_generator(self.seed, "upper", number),
        )
