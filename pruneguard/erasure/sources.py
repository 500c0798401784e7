"""Where the upper level's x_t comes from. It decides what suppression can reach.

In a noised picture of the concept the concept is visible already, so at low noise the prompt adds little gradient. In a
picture of something else only the prompt asks for the concept.
Shapes: B rows, P prompts, N pool rows, C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import torch
from torch import Generator, Tensor

from pruneguard.erasure.contract import ConceptBatch
from pruneguard.erasure.implicit import ImplicitSettings
from pruneguard.errors import ConfigError

SourceKind = Literal["noised", "partial", "mixed"]
Others = Literal["data", "anchors"]
Weighting = Literal["uniform", "high"]

Diffuse = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`diffuse(x_0, noise, t) -> x_t`, the forward process."""


class Rows(Protocol):
    """Latents of other pictures, by row."""

    def __len__(self) -> int: ...

    def latents(self, rows: Sequence[int]) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class TimestepSettings:
    """Distribution of t for rows that are noised here: uniform on a range, or `high`, in proportion to t + 1."""

    t_min: int = 0
    t_max: int = 999
    weighting: Weighting = "uniform"

    def __post_init__(self) -> None:
        if not 0 <= self.t_min <= self.t_max:
            raise ConfigError(f"timesteps: 0 <= t_min <= t_max must hold, not t_min {self.t_min}, t_max {self.t_max}")
        if self.weighting not in get_args(Weighting):
            raise ConfigError(
                f"timesteps: `weighting` is {self.weighting!r}; choose from {', '.join(get_args(Weighting))}"
            )


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """`noised`: forward-noised latents of the concept. `partial`: the teacher's own half-denoised latents.

    `mixed`: as `noised`, with `share` of the rows from other pictures: the training data, or the teacher's pictures of
    the anchors, which show the prompt's scene without the concept.
    """

    kind: SourceKind = "mixed"
    share: float = 0.5
    others: Others = "data"
    timesteps: TimestepSettings = field(default_factory=TimestepSettings)

    def __post_init__(self) -> None:
        if self.kind not in get_args(SourceKind):
            raise ConfigError(f"source: `kind` is {self.kind!r}; choose from {', '.join(get_args(SourceKind))}")
        if self.others not in get_args(Others):
            raise ConfigError(f"source: `others` is {self.others!r}; choose from {', '.join(get_args(Others))}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"source: `share` is {self.share}; it must lie between 0 and 1")


@dataclass(frozen=True)
class ConceptPool:
    """One concept's text states and cached latents of the teacher.

    `timesteps` None: `latents` are clean, x_0. Otherwise row i of `latents` is x_t at `timesteps[i]`.
    """

    name: str
    text: Tensor
    """(P, L, D)."""
    anchor_text: Tensor
    """(P, L, D); row i is the anchor of prompt i."""
    latents: Tensor
    """(N, C, h, w)."""
    prompt_of: Tensor
    """The prompt that each row of `latents` was drawn from, (N,) int64."""
    timesteps: Tensor | None = None
    anchor_latents: Tensor | None = None
    """The teacher's pictures of the anchors of `prompt_of`, (N, C, h, w)."""
    implicit_text: Tensor | None = None
    """States of the prompts that call it up unnamed, (I, L, D)."""
    implicit_of: tuple[tuple[int, ...], ...] = ()
    """For each prompt the entries of `implicit_text` that ask for the same; empty if there are none."""


def draw_timesteps(settings: TimestepSettings, count: int, total: int, generator: Generator) -> Tensor:
    """(count,) int64 timesteps below `total` by the settings' distribution. Raises ConfigError for an empty range."""
    if settings.t_min >= total:
        raise ConfigError(
            f"timesteps: `t_min` is {settings.t_min} but the schedule ends at {total - 1}; choose a lower one"
        )
    low, high = settings.t_min, min(settings.t_max, total - 1)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    if settings.weighting == "high":
        # The inverse of the distribution function of a density proportional to t + 1 on [low, high + 1).
        first, last = float(low + 1) ** 2, float(high + 2) ** 2
        drawn = torch.sqrt(first + uniform * (last - first)) - 1
    else:
        drawn = low + uniform * (high + 1 - low)
    return drawn.long().clamp(low, high)


def draw_concept_batch(
    pool: ConceptPool,
    others: Rows | None,
    settings: SourceSettings,
    implicit: ImplicitSettings,
    *,
    count: int,
    total_timesteps: int,
    diffuse: Diffuse,
    empty_text: Tensor,
    generator: Generator,
) -> ConceptBatch:
    """`count` rows of one concept. Generators with equal seeds give equal batches.

    A row with an implicit prompt shows a picture of the concept. `others` may be None for a source that mixes in no
    pictures of the data set; ConfigError if it needs them.
    """
    coins = torch.rand(5, count, generator=generator, dtype=torch.float64).tolist()
    place, other_place, coin, unnamed, which = coins
    timesteps = draw_timesteps(settings.timesteps, count, total_timesteps, generator)
    latents, text, anchor_text, named_text = [], [], [], []
    implicit_rows: list[bool] = []
    for i in range(count):
        row = int(place[i] * len(pool.latents))
        prompt, latent = int(pool.prompt_of[row]), pool.latents[row]
        said = _implicit_text(pool, prompt, empty_text[0], unnamed[i], which[i], implicit)
        if said is None and settings.kind == "mixed" and coin[i] < settings.share:
            if pool.anchor_latents is not None:
                latent = pool.anchor_latents[row]
            elif others is None:
                raise ConfigError("source 'mixed' needs pictures of the data set, and none were given")
            else:  # the picture has nothing to do with the prompt, so any prompt will do
                latent = others.latents([int(other_place[i] * len(others))])[0]
                prompt = int(place[i] * len(pool.text))
        latents.append(latent)
        text.append(pool.text[prompt] if said is None else said)
        implicit_rows.append(said is not None)
        named_text.append(pool.text[prompt])
        anchor_text.append(pool.anchor_text[prompt])
        if pool.timesteps is not None:
            timesteps[i] = pool.timesteps[row]
    clean = torch.stack(latents).float()
    noise = torch.randn(clean.shape, generator=generator)
    noisy = clean if settings.kind == "partial" else diffuse(clean, noise, timesteps)
    return ConceptBatch(
        noisy,
        timesteps,
        torch.stack(text),
        torch.stack(anchor_text),
        empty_text,
        torch.stack(named_text),
        torch.tensor(implicit_rows),
    )


def _implicit_text(
    pool: ConceptPool, prompt: int, empty: Tensor, coin: float, place: float, settings: ImplicitSettings
) -> Tensor | None:
    """The states (L, D) that a row gets in place of a prompt's own; None for a row that names the concept.

    Coins below `share` are implicit, and of these the lowest are empty prompts. A concept without implicit prompts
    still has the empty one.
    """
    if coin < settings.share * settings.empty:
        return empty
    if coin >= settings.share or pool.implicit_text is None:
        return None
    among = pool.implicit_of[prompt]
    return pool.implicit_text[among[int(place * len(among))]]
