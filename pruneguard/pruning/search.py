"""Search for a pruning plan: which slots and blocks to remove so that the UNet meets a MAC budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from pruneguard.errors import ConfigError
from pruneguard.pruning.costs import CostTable
from pruneguard.pruning.criteria import marginal_importances
from pruneguard.pruning.groups import GroupKey, Layer, spare_blocks, width_layers
from pruneguard.pruning.plan import PruningPlan


@dataclass(frozen=True, order=True)
class _Step:
    """One removal: `together` slots of a layer, or a block. Ordered by importance per MAC, then by place."""

    importance: float
    place: int
    key: GroupKey = field(compare=False)
    macs: int = field(compare=False)


def find_plan(
    unet: UNet2DConditionModel,
    scores: Mapping[GroupKey, Tensor],
    *,
    budget: float = 0.58,
    latent_size: int | None = None,
    text_tokens: int = 77,
    tolerance: float = 0.01,
    floor: float = 0.25,
    max_removed: int | None = None,
) -> PruningPlan:
    """A plan whose MACs are between `budget * (1 - tolerance)` and `budget`, as shares of the MACs of `unet`.

    The search is greedy: it removes slots and blocks in ascending order of importance per MAC until the budget is met.
    Then it gives back slots that still fit, the last removed first. A slot's importance grows as its layer empties
    (`marginal_importances`). `scores` come from a criterion. Every layer keeps at least one slot and at least the share
    `floor` of its slots. At most `max_removed` blocks are removed as a whole (None: one in ten); every stage keeps a
    ResNet and, if it had one, a transformer, and the middle keeps all its blocks. MACs are those of `unet_macs` at
    `latent_size` and `text_tokens`. Raises ConfigError if the budget cannot be met.
    """
    _check(budget, tolerance, floor, max_removed)
    costs = CostTable.measure(unet, latent_size=latent_size, text_tokens=text_tokens)
    dense = costs.dense().total
    spender = _Spender(costs, scores, floor, _depth_limits(unet, costs, max_removed))
    limit = math.floor(budget * dense)
    spender.spend(limit)
    if not limit * (1 - tolerance) <= spender.total <= limit:
        remedy = "lower floor or raise the budget" if spender.total > limit else "raise tolerance"
        reached = f"{spender.total / dense:.4f}"
        raise ConfigError(f"budget {budget}: the nearest that the search reaches is {reached}; {remedy}")
    return spender.plan()


def random_plan(unet: UNet2DConditionModel, seed: int, *, keep: float = 0.6, remove: int = 1) -> PruningPlan:
    """A plan that keeps a random share of about `keep` of each layer and removes `remove` random spare blocks.

    It is the baseline that a criterion must beat, and a source of plans for tests and benchmarks.
    """
    generator = torch.Generator().manual_seed(seed)
    spare = spare_blocks(unet)
    order = torch.randperm(len(spare), generator=generator, device="cpu").tolist()
    removed = tuple(spare[i] for i in sorted(order[:remove]))
    kept: dict[GroupKey, tuple[int, ...]] = {}
    for key, layer in width_layers(unet).items():
        share = keep + (1 - keep) * (2 * torch.rand((), generator=generator, device="cpu").item() - 1)
        gone = min(round((1 - share) * layer.slots / layer.together) * layer.together, layer.slots - 1)
        stay = torch.randperm(layer.slots, generator=generator, device="cpu")[gone:].sort().values.tolist()
        if layer.block not in removed:
            kept[key] = tuple(stay)
    return _plan(kept, removed)


def _check(budget: float, tolerance: float, floor: float, max_removed: int | None) -> None:
    if not 0 < budget <= 1:
        raise ConfigError(f"budget is a share of the dense MACs, above 0 and at most 1; got {budget}")
    if not 0 < tolerance < 1:
        raise ConfigError(f"tolerance is a share of the budget between 0 and 1; got {tolerance}")
    if not 0 <= floor <= 1:
        raise ConfigError(f"floor is a share of a layer's slots from 0 to 1; got {floor}")
    if max_removed is not None and max_removed < 0:
        raise ConfigError(f"max_removed must not be negative; got {max_removed}")


@dataclass(frozen=True)
class _DepthLimits:
    spare: tuple[str, ...]
    total: int
    in_part: Mapping[str, int]  # by module list, such as "up_blocks.1.resnets"


def _depth_limits(unet: UNet2DConditionModel, costs: CostTable, max_removed: int | None) -> _DepthLimits:
    parts = [name.rpartition(".")[0] for name in costs.blocks]
    in_part = {part: 0 if part.startswith("mid_block") else parts.count(part) - 1 for part in parts}
    total = len(costs.blocks) // 10 if max_removed is None else max_removed
    return _DepthLimits(spare_blocks(unet), total, in_part)


class _Spender:
    """The state of one search: what was removed so far, and the MACs of the rest."""

    def __init__(self, costs: CostTable, scores: Mapping[GroupKey, Tensor], floor: float, limits: _DepthLimits) -> None:
        self._costs = costs
        self._limits = limits
        self._order = {key: _ascending(scores, layer) for key, layer in costs.layers.items()}
        self._kept = {key: layer.slots for key, layer in costs.layers.items()}
        self._removed: list[str] = []
        self._steps = self._width_steps(scores, floor) + self._depth_steps(scores)
        self.total = costs.dense().total

    def spend(self, budget: int) -> None:
        """Removes until the total is at most `budget`, then gives back the slots that fit, the last removed first."""
        gone: list[_Step] = []
        for step in sorted(self._steps):
            if self.total <= budget:
                break
            if self._take(step):
                gone.append(step)
        for step in reversed(gone):
            if self._block(step.key) not in self._removed and self.total + step.macs <= budget:
                self._kept[step.key] += self._costs.layers[step.key].together
                self.total += step.macs

    def plan(self) -> PruningPlan:
        kept = {
            key: tuple(sorted(self._order[key][layer.slots - self._kept[key] :]))
            for key, layer in self._costs.layers.items()
            if layer.block not in self._removed and self._kept[key] < layer.slots
        }
        return _plan(kept, tuple(name for name in self._costs.blocks if name in self._removed))

    def _width_steps(self, scores: Mapping[GroupKey, Tensor], floor: float) -> list[_Step]:
        steps: list[_Step] = []
        for key, layer in self._costs.layers.items():
            macs = self._costs.slots[key].total * layer.together
            least = max(1, math.ceil(floor * layer.slots))
            units = marginal_importances(scores[key][self._order[key]], layer.together)
            for importance in units[: (layer.slots - least) // layer.together]:
                steps.append(_Step(importance / macs, len(steps), key, macs))
        return steps

    def _depth_steps(self, scores: Mapping[GroupKey, Tensor]) -> list[_Step]:
        """The importance per MAC of a block is that of the whole block, even if some of its slots are removed."""
        keys = [GroupKey("blocks", name) for name in self._costs.blocks if name in self._limits.spare]
        steps = []
        for place, key in enumerate(keys, start=1):
            macs = self._costs.block(key.name, {}).total
            if key in scores:
                steps.append(_Step(float(scores[key]) / macs, -place, key, macs))
        return steps

    def _take(self, step: _Step) -> bool:
        """Takes the step and returns True, or returns False if a limit forbids it."""
        name = self._block(step.key)
        if name in self._removed:
            return False
        if step.key.kind != "blocks":
            self._kept[step.key] -= self._costs.layers[step.key].together
            self.total -= step.macs
            return True
        part = name.rpartition(".")[0]
        in_part = sum(other.rpartition(".")[0] == part for other in self._removed)
        if len(self._removed) >= self._limits.total or in_part >= self._limits.in_part[part]:
            return False
        self._removed.append(name)
        self.total -= self._costs.block(name, self._kept).total
        return True

    def _block(self, key: GroupKey) -> str:
        return key.name if key.kind == "blocks" else self._costs.layers[key].block


def _ascending(scores: Mapping[GroupKey, Tensor], layer: Layer) -> list[int]:
    """The slots in ascending order of importance. Raises ConfigError for scores that do not fit the layer."""
    score = scores.get(layer.key)
    if score is None or score.shape != (layer.slots,) or not bool(torch.isfinite(score).all()):
        raise ConfigError(
            f"scores, {layer.key.kind} of {layer.key.name}: must be {layer.slots} finite numbers;"
            " score this UNet with a criterion"
        )
    order: list[int] = torch.argsort(score.float().cpu(), stable=True).tolist()
    return order


def _plan(kept: Mapping[GroupKey, tuple[int, ...]], removed: tuple[str, ...]) -> PruningPlan:
    def of(kind: str) -> dict[str, tuple[int, ...]]:
        return {key.name: slots for key, slots in kept.items() if key.kind == kind}

    return PruningPlan(resnets=of("resnets"), heads=of("heads"), neurons=of("neurons"), removed=removed)
