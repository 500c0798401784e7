"""Settings of the upper level."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pruneguard.concepts.concept import PARAMETER_SETS
from pruneguard.erasure.contract import ERASERS
from pruneguard.erasure.implicit import ImplicitSettings
from pruneguard.erasure.sources import SourceSettings
from pruneguard.runtime.sampling.request import MAX_GUIDANCE, MAX_STEPS
from pruneguard.settings import Choice, plain, require

Upper = Literal["auto", "x", "x-strict", "u", "all"]
_TIMESTEPS = 1000
"""Of the models' noise schedules."""


def _drawn_by(default: Any) -> Any:
    """A field that decides what the teacher draws: cached latents are kept under a digest of all of these."""
    return field(default=default, metadata={"drawn_by": True})


@dataclass(frozen=True, kw_only=True)
class ErasureSettings:
    """The upper level: which eraser, on which weights, on which x_t, and how the teacher draws the concept."""

    eraser: Choice = field(default=Choice("esd"))
    """The eraser and its own options, such as `eta`."""
    parameters: Upper = "auto"
    """The parameter set; `auto` takes each concept's own."""
    source: SourceSettings = field(default_factory=SourceSettings)
    implicit: ImplicitSettings = field(default_factory=ImplicitSettings)
    batch_size: int = 16
    """Rows of an upper step, which are all of one concept; several concepts take turns."""
    images: int = _drawn_by(128)
    """Latents that the teacher draws of each concept, once."""
    steps: int = _drawn_by(25)
    guidance_scale: float = _drawn_by(7.5)
    partial_steps: int = _drawn_by(50)
    partial_guidance_scale: float = _drawn_by(3.0)
    partial_states: int = _drawn_by(4)
    """States kept of each partial trajectory."""

    def __post_init__(self) -> None:
        # Every option is written out, so that a record or a configuration shows the defaults too.
        complete = plain(ERASERS.settings(self.eraser))
        object.__setattr__(self, "eraser", Choice(self.eraser.name, complete))
        sets = ("auto", *PARAMETER_SETS)
        require(
            self.parameters in sets, "erasure", f"`parameters` is {self.parameters!r}; choose from {', '.join(sets)}"
        )
        for name in ("batch_size", "images", "steps", "partial_steps", "partial_states"):
            require(getattr(self, name) >= 1, "erasure", f"`{name}` is {getattr(self, name)}; it must be at least 1")
        require(
            self.partial_states <= self.partial_steps, "erasure", "`partial_states` must not exceed `partial_steps`"
        )
        for name, most in (("steps", MAX_STEPS), ("partial_steps", _TIMESTEPS)):
            require(
                getattr(self, name) <= most, "erasure", f"`{name}` is {getattr(self, name)}; at most {most} are drawn"
            )
        for name in ("guidance_scale", "partial_guidance_scale"):
            scale = getattr(self, name)
            require(
                0 <= scale <= MAX_GUIDANCE,
                "erasure",
                f"`{name}` is {scale}; it must lie between 0 and {MAX_GUIDANCE:g}",
            )

    def drawn_by(self) -> dict[str, Any]:
        """The settings that decide what the teacher draws, by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.metadata.get("drawn_by")}
