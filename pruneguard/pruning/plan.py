"""The pruning plan: which parts of a UNet are kept, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from diffusers import UNet2DConditionModel

from pruneguard.errors import ConfigError
from pruneguard.pruning.groups import GroupKey, spare_blocks, width_layers

FIELDS = ("resnets", "heads", "neurons", "removed")
_RANGES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


@dataclass(frozen=True)
class PruningPlan:
    """The kept slots by dotted module name in the dense UNet, and the blocks that are removed as a whole.

    `resnets` holds norm groups of `norm2`, `heads` the heads of `attn1` and `attn2`, `neurons` the inner neurons of
    `ff`; a layer that is not named keeps all its slots. Indices are strictly ascending. `removed` names ResNets and
    transformers. Raises ConfigError for indices that are negative or out of order, for a layer without slots, and for a
    block that is named twice.
    """

    resnets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    heads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    neurons: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key, kept in self.kept().items():
            if not kept:
                raise ConfigError(f"pruning plan, {key.kind} of {key.name}: at least one must be kept")
            if kept[0] < 0 or any(a >= b for a, b in pairwise(kept)):
                raise ConfigError(f"pruning plan, {key.kind} of {key.name}: indices must be ascending and not negative")
        if len(set(self.removed)) != len(self.removed):
            raise ConfigError("pruning plan, removed: a block is named twice")

    def kept(self) -> dict[GroupKey, tuple[int, ...]]:
        """The kept slots of every layer that the plan names."""
        return {
            **{GroupKey("resnets", name): kept for name, kept in self.resnets.items()},
            **{GroupKey("heads", name): kept for name, kept in self.heads.items()},
            **{GroupKey("neurons", name): kept for name, kept in self.neurons.items()},
        }

    def validate(self, unet: UNet2DConditionModel) -> None:
        """Raises ConfigError if the plan does not fit this UNet."""
        layers = width_layers(unet)
        spare = spare_blocks(unet)
        for name in self.removed:
            if name not in spare:
                raise ConfigError(f"pruning plan, removed: this UNet cannot spare {name!r}; it can spare {list(spare)}")
        for key, kept in self.kept().items():
            layer = layers.get(key)
            if layer is None:
                raise ConfigError(f"pruning plan, {key.kind}: this UNet has no prunable layer {key.name!r}")
            if kept[-1] >= layer.slots:
                raise ConfigError(
                    f"pruning plan, {key.kind} of {key.name}: index {kept[-1]} is out of range, there are {layer.slots}"
                )
            if layer.block in self.removed:
                raise ConfigError(f"pruning plan, {key.kind}: {key.name} lies in {layer.block}, which is removed")

    def to_dict(self) -> dict[str, Any]:
        """A JSON form; runs of indices are written as in "0-5,7" to keep configuration files readable."""
        widths = {name: {k: _to_ranges(v) for k, v in getattr(self, name).items()} for name in FIELDS[:3]}
        return {**widths, "removed": list(self.removed)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PruningPlan:
        """Reads the form of `to_dict`, or lists of indices instead of runs. Raises ConfigError for anything else."""
        unknown = sorted(set(values) - set(FIELDS))
        if unknown:
            raise ConfigError(f"pruning plan: unknown fields {unknown}; it has {list(FIELDS)}")
        widths: dict[str, dict[str, tuple[int, ...]]] = {}
        for name in FIELDS[:3]:
            layers = values.get(name, {})
            if not isinstance(layers, Mapping):
                raise ConfigError(f"pruning plan, {name}: must map module names to indices")
            widths[name] = {str(layer): _from_json(kept, f"{name} of {layer}") for layer, kept in layers.items()}
        removed = values.get("removed", ())
        if not isinstance(removed, (list, tuple)) or not all(isinstance(name, str) for name in removed):
            raise ConfigError("pruning plan, removed: must be a list of module names")
        return cls(**widths, removed=tuple(removed))


def _to_ranges(indices: Iterable[int]) -> str:
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _from_json(value: Any, where: str) -> tuple[int, ...]:
    if isinstance(value, str) and _RANGES.fullmatch(value):
        runs = [[int(end) for end in run.split("-")] for run in value.split(",")]
        return tuple(index for run in runs for index in range(run[0], run[-1] + 1))
    if isinstance(value, (list, tuple)) and all(type(index) is int for index in value):
        return tuple(value)
    raise ConfigError(f'pruning plan, {where}: must be runs of indices such as "0-5,7" or a list of integers')
