"""Prompts that call up a concept without naming it: what they are paired with, and where their predictions are steered.

The teacher's prediction for such a prompt is a mixture. With p = p(concept | x_t, prompt),
    e = p e_concept + (1 - p) e_rest,  so  e_rest = e + p / (1 - p) (e - e_concept),
where e_concept is the prediction for a prompt that asks for the same and names the concept. So the model that never saw
the concept lies on a line through two predictions of the teacher. p is not known: in pictures without the concept it
falls from the prompt's own rate at high noise to 0, in pictures of the concept it rises to 1. A constant `strength`
stands for p / (1 - p) in each of both cases. The empty prompt is such a prompt too.
Shapes: B rows, K steered pairs, C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pruneguard.concepts import Concept
from pruneguard.erasure.contract import ConceptBatch, Denoiser
from pruneguard.errors import ConfigError
from pruneguard.text.nearest import nearest_prompts

LowerTargets = Literal["steered", "masked", "teacher"]


@dataclass(frozen=True, kw_only=True)
class ImplicitSettings:
    """How both levels treat the concepts' implicit prompts and the empty prompt."""

    share: float = 0.25
    """Share of the upper level's rows that have such a prompt."""
    empty: float = 0.3
    """Share of these rows that have the empty prompt."""
    strength: float = 1.0
    """How far the upper level steers away from the concept, on noised pictures of the concept."""
    lower: LowerTargets = "steered"
    """What the lower level distils there: the teacher's prediction steered away from the concept, nothing (the data
    alone teaches these rows), or the teacher's prediction as it is."""
    lower_strength: float = 0.15
    """How far the lower level steers, on noised pictures without the concept; several concepts share it."""

    def __post_init__(self) -> None:
        for name in ("share", "empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"implicit: `{name}` is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("strength", "lower_strength"):
            if not 0 <= getattr(self, name) <= 100:
                raise ConfigError(f"implicit: `{name}` is {getattr(self, name)}; it must lie between 0 and 100")
        if self.lower not in get_args(LowerTargets):
            raise ConfigError(f"implicit: `lower` is {self.lower!r}; choose from {', '.join(get_args(LowerTargets))}")


def steered(own: Tensor, concept: Tensor, strength: float) -> Tensor:
    """own + strength (own - concept): predictions (B, C, h, w) moved away from the concept's at the same x_t and t.

    The coefficients sum to 1, so it holds for epsilon and v alike.
    """
    return own + strength * (own - concept)


def implicit_loss(student: Denoiser, teacher: Denoiser, batch: ConceptBatch, strength: float) -> Tensor:
    """Mean squared error between the student under an implicit prompt and the teacher's steered prediction, a scalar.

    `batch.text` are states of implicit prompts and `batch.named_text` of prompts that name the concept.
    """
    count = len(batch.noisy)
    with torch.no_grad():
        own, concept = teacher(
            batch.noisy.repeat(2, 1, 1, 1),
            batch.timesteps.repeat(2),
            encoder_hidden_states=torch.cat([batch.text, batch.named_text]),
            return_dict=False,
        )[0].chunk(2)
    predicted = student(batch.noisy, batch.timesteps, encoder_hidden_states=batch.text, return_dict=False)[0]
    assert len(predicted) == count
    return F.mse_loss(predicted.float(), steered(own.float(), concept.float(), strength))


@dataclass(frozen=True)
class SteeredRows:
    """Rows of a lower batch whose caption calls up a concept without naming it, once for each concept."""

    rows: Tensor
    """(K,) int64."""
    text: Tensor
    """States of a prompt that names the concept, (K, L, D)."""

    def within(self, start: int, stop: int, device: Any = None) -> SteeredRows | None:
        """Those of rows `start` up to `stop`, counted from `start`; None if there are none."""
        chosen = (self.rows >= start) & (self.rows < stop)
        if not chosen.any():
            return None
        return SteeredRows((self.rows[chosen] - start).to(device), self.text[chosen].to(device))


@dataclass(frozen=True)
class Steering:
    """For each concept: the captions that call it up unnamed, and the states of the prompts that name it."""

    named: tuple[Mapping[str, tuple[int, ...]], ...]
    """By concept and caption, the prompts to steer away from; the empty caption steers away from all."""
    text: tuple[Tensor, ...]
    """By concept, the states of its prompts, (P, L, D)."""

    def rows(self, captions: Sequence[str], generator: Generator) -> SteeredRows | None:
        """The rows of these captions ("" if it was dropped) that are steered; None if there are none."""
        rows, states = [], []
        places = torch.rand(len(self.named), len(captions), generator=generator, dtype=torch.float64).tolist()
        for named, text, place in zip(self.named, self.text, places, strict=True):
            for row, caption in enumerate(captions):
                if among := named.get(caption):
                    rows.append(row)
                    states.append(text[among[int(place[row] * len(among))]])
        return SteeredRows(torch.tensor(rows), torch.stack(states)) if rows else None


def steering_of(concepts: Sequence[Concept], text: Sequence[Tensor]) -> Steering:
    """The steering of concepts whose prompts have these states, (P, L, D) each."""
    named = tuple(
        {"": tuple(range(len(concept.prompts)))}
        | {prompt: tuple(nearest_prompts(prompt, concept.prompts)) for prompt in concept.implicit_prompts}
        for concept in concepts
    )
    return Steering(named, tuple(text))
