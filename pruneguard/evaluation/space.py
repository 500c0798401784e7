"""The settings of an audit's space, and which picture is drawn where in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import TypeVar

from pruneguard.bundle import Space
from pruneguard.errors import ConfigError
from pruneguard.runtime.sampling.request import MAX_PROMPT, check_guidance, check_steps
from pruneguard.settings import require
from pruneguard.text.prompts import check_prompts

T = TypeVar("T")

GROUP = 12
"""About how many pictures share a number of steps and a size, so that they can be drawn in one batch."""
_WHERE = "audit.space"


@dataclass(frozen=True, kw_only=True)
class SpaceSettings:
    """The settings from which the pictures of an audit draw theirs; what is left out is the audit's own value."""

    steps: tuple[int, int] | None = None
    """The least and the largest number of steps."""
    guidance_scale: tuple[float, float] | None = None
    """The least and the largest guidance scale."""
    sizes: tuple[tuple[int, int], ...] = ()
    """Height and width in pixels; the model's own size is always among them."""
    negative_prompts: tuple[str, ...] = ()
    """Negative prompts; the empty one is always among them."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a range, a size or a negative prompt that no picture can have."""
        for steps in self.steps or ():
            check_steps(steps, name=f"{_WHERE}: steps", error=ConfigError)
        for scale in self.guidance_scale or ():
            check_guidance(scale, name=f"{_WHERE}: guidance_scale", error=ConfigError)
        for name in ("steps", "guidance_scale"):
            given = getattr(self, name)
            if given is not None:
                holds = len(given) == 2 and given[0] <= given[1]
                require(holds, _WHERE, f"{name} must be a least and a largest value, not {list(given)}")
        for size in self.sizes:
            require(len(size) == 2 and min(size) >= 1, _WHERE, f"{list(size)} is no size; give [height, width]")
        check_prompts(self.negative_prompts, f"{_WHERE}, `negative_prompts`")
        for text in self.negative_prompts:
            require(len(text) <= MAX_PROMPT, _WHERE, f"a negative prompt has at most {MAX_PROMPT} characters")
        for name in ("sizes", "negative_prompts"):
            entries = getattr(self, name)
            require(len(set(entries)) == len(entries), _WHERE, f"{name} has an entry twice; name each once")

    def around(self, steps: int, guidance_scale: float) -> Space:
        """The space, with these steps and this guidance scale where none are given.

        Raises ConfigError if it does not hold that point, at which models are served by default.
        """
        space = Space(
            steps=self.steps or (steps, steps),
            guidance_scale=self.guidance_scale or (guidance_scale, guidance_scale),
            sizes=self.sizes,
            negative_prompts=self.negative_prompts,
        )
        if not space.covers(Space.point(steps, guidance_scale)):
            raise ConfigError(
                f"{_WHERE}: {space.show()} leaves out the audit's own {steps} steps at guidance {guidance_scale:g}; "
                "widen the space or change the audit's own settings"
            )
        return space


@dataclass(frozen=True)
class Group:
    """Pictures `start` and following, which share their steps and size (height, width; None is the model's own).

    `guidance` and `negatives` have one entry for each picture.
    """

    start: int
    steps: int
    size: tuple[int, int] | None
    guidance: tuple[float, ...]
    negatives: tuple[str, ...]


def check_count(space: Space, count: int, where: str) -> None:
    """Raises ConfigError if so few pictures cannot reach every end, size and negative prompt of the space."""
    ends = 1 if _is_one(space.steps) and _is_one(space.guidance_scale) else 2
    needed = 0 if space.is_point else max(ends, len(space.sizes), len(space.negative_prompts))
    if count - _at_point(count) < needed:
        least = next(number for number in range(1, 2 * needed + 4) if number - _at_point(number) >= needed)
        raise ConfigError(
            f"{where}: {count} pictures cannot cover {space.show()}; draw at least {least}, or narrow [{_WHERE}]"
        )


def plan_pictures(space: Space, steps: int, guidance_scale: float, count: int, seed: int) -> tuple[Group, ...]:
    """Which settings each of `count` pictures is drawn with: a function of the seed, whatever the batch size.

    The first quarter is drawn at the point of `steps` and `guidance_scale`. The others are a Latin hypercube (McKay,
    Beckman and Conover 1979, Technometrics 21) with both ends of each range: steps and sizes are spread over groups,
    guidance scales and negative prompts over pictures. Steps have equal parts of the range's logarithm, since one step
    more changes a picture of few steps most.
    """
    near = count if space.is_point else _at_point(count)
    groups = [Group(0, steps, None, (guidance_scale,) * near, ("",) * near)] if near else []
    far = count - near
    if not far:
        return tuple(groups)
    scales = _stratified(space.guidance_scale, _order(far, seed, "guidance"), seed, "scale")
    # What the point has already comes last, so that a short list of pictures has the rest.
    negatives = _dealt((*space.negative_prompts, ""), _order(far, seed, "negative"))
    number = _group_count(space, far)
    least, most = space.steps
    amounts = [exp(power) for power in _stratified((log(least), log(most)), range(number), seed, "steps")]
    sizes = _dealt((*space.sizes, None), _order(number, seed, "size"))
    for index in range(number):
        first, last = index * far // number, (index + 1) * far // number
        group = Group(
            near + first, round(amounts[index]), sizes[index], tuple(scales[first:last]), tuple(negatives[first:last])
        )
        groups.append(group)
    return tuple(groups)


def _at_point(count: int) -> int:
    return ceil(count / 4)


def _is_one(bounds: tuple[float, float]) -> bool:
    return bounds[0] == bounds[1]


def _group_count(space: Space, count: int) -> int:
    """How many groups `count` pictures make; one if their steps and sizes are all equal."""
    if _is_one(space.steps) and not space.sizes:
        return 1
    return min(count, max(ceil(count / GROUP), 2, len(space.sizes)))


def _stratified(bounds: tuple[float, float], ranks: Sequence[int], seed: int, name: str) -> list[float]:
    """A value in the range for each rank: rank 0 has the least one, the last rank the largest one.

    The ranks between have one value in each of as many equal parts of the range.
    """
    (least, most), inner = bounds, len(ranks) - 2

    def value(rank: int) -> float:
        if rank == 0 or _is_one(bounds):
            return least
        if rank == len(ranks) - 1:
            return most
        return min(most, least + (most - least) * (rank - 1 + _uniform(seed, name, rank)) / inner)

    return [value(rank) for rank in ranks]


def _dealt(entries: Sequence[T], ranks: Sequence[int]) -> list[T]:
    """An entry for each rank; the entries come in turn, so each comes about equally often."""
    return [entries[rank % len(entries)] for rank in ranks]


def _order(count: int, seed: int, name: str) -> list[int]:
    """The ranks 0 to `count` - 1 in an order that depends on the seed and the name alone."""
    order = sorted(range(count), key=lambda index: _uniform(seed, name, index))
    ranks = [0] * count
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def _uniform(*counter: int | str) -> float:
    """A number in [0, 1) that depends on the counter alone."""
    digest = hashlib.sha256("/".join(map(str, counter)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
