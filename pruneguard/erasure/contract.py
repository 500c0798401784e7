"""The eraser contract and its registry.

A gradient eraser is a function that gives the upper level's loss for a batch of concept latents. It says nothing of
where the batch came from (`sources`), which weights may change (`parameters`) or when it runs (the training schedule).
Shapes: B rows, C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from pruneguard.errors import ConfigError

Denoiser = Callable[..., Any]
"""A UNet as diffusers calls it: `unet(x, t, encoder_hidden_states=..., return_dict=False) -> (Tensor,)`."""

UpperLoss = Callable[[Denoiser, Denoiser, "ConceptBatch", Any], Tensor]
"""`upper_loss(student, teacher, batch, settings) -> scalar`; gradients flow to the student only."""


@dataclass(frozen=True)
class ConceptBatch:
    """What an upper step works on; row i of every tensor belongs together."""

    noisy: Tensor
    """x_t, (B, C, h, w)."""
    timesteps: Tensor
    """t of each row, (B,) int64."""
    text: Tensor
    """States of prompts that ask for the concept, (B, L, D)."""
    anchor_text: Tensor
    """States of the prompts to map them to, (B, L, D)."""
    empty_text: Tensor
    """States of the empty prompt, (1, L, D)."""

    def rows(self, start: int, stop: int, device: Any = None) -> ConceptBatch:
        """Rows `start` up to `stop`, on `device`."""
        chosen = slice(start, stop)
        return ConceptBatch(
            self.noisy[chosen].to(device),
            self.timesteps[chosen].to(device),
            self.text[chosen].to(device),
            self.anchor_text[chosen].to(device),
            self.empty_text.to(device),
        )


@dataclass(frozen=True)
class Eraser:
    """A registered eraser: its name, the dataclass of its own settings, and its loss."""

    name: str
    settings: type[Any]
    upper_loss: UpperLoss

    def build_settings(self, options: Mapping[str, Any]) -> Any:
        """The eraser's settings from options; ConfigError for an option it does not have."""
        known = {entry.name for entry in fields(self.settings)}
        if unknown := sorted(set(options) - known):
            allowed = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"eraser {self.name!r} has no option {unknown[0]!r}; its options are: {allowed}")
        return self.settings(**options)


_ERASERS: dict[str, Eraser] = {}


def eraser(name: str, *, settings: type[Any]) -> Callable[[UpperLoss], UpperLoss]:
    """Registers a function as the gradient eraser of that name, with `settings` the type of its options."""

    def register(upper_loss: UpperLoss) -> UpperLoss:
        if name in _ERASERS:
            raise ValueError(f"an eraser named {name!r} is registered already")
        _ERASERS[name] = Eraser(name, settings, upper_loss)
        return upper_loss

    return register


def list_erasers() -> tuple[str, ...]:
    """Names of all erasers."""
    return tuple(sorted(_ERASERS))


def find_eraser(name: str) -> Eraser:
    """The eraser of that name; ConfigError with close matches for one that is not there."""
    if name not in _ERASERS:
        close = get_close_matches(name, _ERASERS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"no eraser {name!r}: {hint}choose from {', '.join(list_erasers())}")
    return _ERASERS[name]
