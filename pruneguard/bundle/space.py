"""The space of settings in which an audit drew its pictures, and in which the runtime draws without consent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, TypeVar

import msgspec

from pruneguard.errors import ConfigError
from pruneguard.settings import plain

Number = TypeVar("Number", int, float)


class Space(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges of the settings of pictures, each with its least and its largest value.

    Raises ConfigError for a range whose least value is above its largest one.
    """

    steps: tuple[int, int]
    guidance_scale: tuple[float, float]
    sizes: tuple[tuple[int, int], ...] = ()
    """Height and width in pixels, in addition to the model's own size."""
    negative_prompts: tuple[str, ...] = ()
    """Texts, in addition to the empty one."""

    def __post_init__(self) -> None:
        for name in ("steps", "guidance_scale"):
            least, most = getattr(self, name)
            if not 0 <= least <= most:
                raise ConfigError(f"space: {name} must go from a least to a largest value, not {least} to {most}")

    @classmethod
    def point(cls, steps: int, guidance_scale: float) -> Space:
        """The space of one number of steps and one guidance scale, in the model's own size, with no negative prompt."""
        return cls(steps=(steps, steps), guidance_scale=(guidance_scale, guidance_scale))

    @property
    def is_point(self) -> bool:
        """Whether all pictures of this space have equal settings."""
        return self == Space.point(self.steps[0], self.guidance_scale[0])

    def covers(self, other: Space) -> bool:
        """Whether every setting of the other space lies in this one."""
        return (
            self.steps[0] <= other.steps[0] <= other.steps[1] <= self.steps[1]
            and self.guidance_scale[0] <= other.guidance_scale[0]
            and other.guidance_scale[1] <= self.guidance_scale[1]
            and set(other.sizes) <= set(self.sizes)
            and set(other.negative_prompts) <= set(self.negative_prompts)
        )

    def show(self) -> str:
        """The space as people read it: "10 to 50 steps, guidance 1 to 15, 3 negative prompts"."""
        parts = [f"{show_range(*self.steps)} steps", f"guidance {show_range(*self.guidance_scale)}"]
        if self.sizes:
            parts.append(f"the model's own size and {show_sizes(self.sizes)} pixels")
        if self.negative_prompts:
            count = len(self.negative_prompts)
            parts.append(f"{count} negative prompt{'s' if count > 1 else ''}")
        return ", ".join(parts)


def common_space(spaces: Iterable[Space]) -> Space:
    """The settings that lie in all of at least one space. Raises ConfigError for spaces without a common setting."""
    return reduce(_intersection, spaces)


def space_of(settings: Mapping[str, Any]) -> Space | None:
    """The space that the settings of a measurement's protocol name; None if they name none that can be read.

    Settings without a `space` are the point of their steps and guidance scale.
    """
    try:
        if "space" not in settings:
            return Space.point(settings["steps"], settings["guidance_scale"])
        return msgspec.convert(plain(settings["space"]), Space, strict=True)
    except (KeyError, TypeError, ConfigError, msgspec.ValidationError):
        return None


def show_range(least: float, most: float) -> str:
    """ "7.5" or "1 to 15"."""
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def show_sizes(sizes: Iterable[tuple[int, int]]) -> str:
    """ "64 × 64, 96 × 64", height first."""
    return ", ".join(f"{height} × {width}" for height, width in sizes)


def _intersection(first: Space, second: Space) -> Space:
    try:
        return Space(
            steps=_both(first.steps, second.steps),
            guidance_scale=_both(first.guidance_scale, second.guidance_scale),
            sizes=tuple(size for size in first.sizes if size in second.sizes),
            negative_prompts=tuple(text for text in first.negative_prompts if text in second.negative_prompts),
        )
    except ConfigError:
        raise ConfigError(f"no setting lies both in {first.show()} and in {second.show()}") from None


def _both(first: tuple[Number, Number], second: tuple[Number, Number]) -> tuple[Number, Number]:
    return max(first[0], second[0]), min(first[1], second[1])
