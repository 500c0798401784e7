"""Which weights the upper level may change: ESD's parameter sets, on any UNet, pruned or not."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pruneguard.concepts import ParameterSet
from pruneguard.errors import ConfigError


def belongs(name: str, which: ParameterSet) -> bool:
    """Whether the Linear or Conv2d module of that dotted name is in the set.

    Source: `esd-x`, `esd-x-strict`, `esd-u` and `esd-all` of the authors' diffusers scripts for Stable Diffusion.
    """
    parts = name.split(".")
    cross = "attn2" in parts
    if which == "x":
        return cross
    if which == "x-strict":
        return cross and parts[-1] in ("to_k", "to_v")
    return which == "all" or not cross


def select_parameters(unet: nn.Module, sets: Iterable[ParameterSet]) -> dict[str, nn.Parameter]:
    """Weights and biases of every Linear and Conv2d in one of the sets, by name, in the UNet's order.

    Norms never change. Blocks that pruning removed have no weights and add none. Raises ConfigError if nothing is left
    to train.
    """
    wanted = tuple(dict.fromkeys(sets))
    chosen = {
        f"{name}.{key}": parameter
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(belongs(name, which) for which in wanted)
        for key, parameter in module.named_parameters(recurse=False)
    }
    if not chosen:
        raise ConfigError(f"this UNet has no weights in parameter set {', '.join(wanted)}; choose another, such as 'u'")
    return chosen
