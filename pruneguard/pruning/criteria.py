"""Criteria: how important each slot and each removable block of a UNet is.

A criterion gives every layer a tensor (slots,) of importances >= 0 and every spare block one (1,). Importances add up,
and the search divides them by the MACs that they cost. A new criterion is a file in this folder that registers a
function with `@criterion("name")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor

from pruneguard.errors import ConfigError
from pruneguard.pruning.costs import CostTable
from pruneguard.pruning.groups import GroupKey, consumer, spare_blocks, width_layers
from pruneguard.registry import Registry

Scores: TypeAlias = dict[GroupKey, Tensor]
Loss: TypeAlias = Callable[[UNet2DConditionModel, Any], Tensor]


class Score(Protocol):
    """Scores `unet` and leaves it unchanged. `loss(unet, batch)` is a scalar; only some criteria need data."""

    def __call__(
        self, unet: UNet2DConditionModel, batches: Iterable[Any] | None = None, loss: Loss | None = None
    ) -> Scores: ...


@dataclass(frozen=True)
class Criterion:
    """A way of scoring a UNet."""

    score: Score
    reads_data: bool = False
    """Whether it needs batches and a loss."""

    def __call__(
        self, unet: UNet2DConditionModel, batches: Iterable[Any] | None = None, loss: Loss | None = None
    ) -> Scores:
        """The scores of `unet`, which stays unchanged."""
        return self.score(unet, batches, loss)


_LATENT_SIZE = 64  # Stable Diffusion's; used if a UNet's configuration has none
CRITERIA: Registry[Criterion] = Registry("criterion", packages=("pruneguard.pruning",))
"""Criteria by name; `build` is the Criterion itself."""


def criterion(name: str, *, reads_data: bool = False) -> Callable[[Score], Score]:
    """A decorator that registers a function as a criterion. Raises ConfigError for a name that is taken."""

    def register(score: Score) -> Score:
        CRITERIA.register(name)(Criterion(score, reads_data))
        return score

    return register


def load_criterion(name: str) -> Criterion:
    """The criterion of that name. Raises ConfigError, which proposes the nearest names."""
    return CRITERIA.find(name).build


def reads_data(name: str) -> bool:
    """Whether the criterion of that name needs batches and a loss. Raises ConfigError for an unknown name."""
    return load_criterion(name).reads_data


def marginal_importances(ascending: Tensor, together: int = 1) -> list[float]:
    """Importance of each unit of `together` slots at its removal, if units are removed in the order of their scores.

    `ascending` (slots,) are the scores of one layer in ascending order. The fewer slots are left, the larger is the
    part of the layer that one unit removes. So a unit's score is multiplied by the score of the whole layer and divided
    by that of the slots still there, as in LAMP for single weights (Lee et al. 2021, arXiv:2010.07611, eq. 1). Without
    this the search would empty the layers with the most MACs down to the floor before it touches any other.
    """
    scores = ascending.double().cpu()
    left = scores.flip(0).cumsum(0).flip(0)
    units = [scores[i : i + together].sum() / left[i].clamp_min(1e-300) for i in range(0, len(scores), together)]
    return [float(unit * left[0]) for unit in units]


@criterion("magnitude")
@torch.no_grad()
def magnitude(unet: UNet2DConditionModel, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> Scores:
    """The energy of the weights on a slot's path from input to output; needs no data.

    The path norm of a channel is the product of the norms of the weights that write and read it: for attention |to_v
    row| |to_out column|, for a neuron |value row| |gate row| |column|, for a ResNet |norm2 weight| |conv2 column|,
    because norm2 cancels the scale of conv1. The energy of a slot is the mean square over its channels. Weights alone
    do not tell whether a ResNet matters more than a head. So energies are divided by their mean within each kind of
    layer, and a slot's importance is this relative energy times its MACs. The importance of a block is the sum over its
    layers of the importances of removing all slots one after another.
    """
    costs = CostTable.measure(unet, latent_size=unet.config.sample_size or _LATENT_SIZE)
    energies = {
        key: _path_norms(unet, key).square().reshape(layer.slots, -1).mean(dim=1) for key, layer in costs.layers.items()
    }
    scores: Scores = {}
    for kind in sorted({key.kind for key in energies}):
        keys = [key for key in energies if key.kind == kind]
        mean = sum(float(energies[key].mean()) for key in keys) / len(keys)
        for key in keys:
            scores[key] = energies[key] / (mean or 1.0) * costs.slots[key].total
    for name in spare_blocks(unet):
        inner = [scores[key].sort().values for key, layer in costs.layers.items() if layer.block == name]
        if inner:
            scores[GroupKey("blocks", name)] = torch.tensor([sum(sum(marginal_importances(score)) for score in inner)])
    return scores


def _path_norms(unet: UNet2DConditionModel, key: GroupKey) -> Tensor:
    """Path norms (channels,) of the inner channels, float32 on the CPU."""
    module, reader = unet.get_submodule(key.name), consumer(unet, key).weight.float()
    norms: Tensor = reader.transpose(0, 1).flatten(1).norm(dim=1)
    if isinstance(module, ResnetBlock2D):
        norms = norms * module.norm2.weight.float().abs()
    elif isinstance(module, Attention):
        norms = norms * module.to_v.weight.float().norm(dim=1)
    elif isinstance(module, FeedForward):
        values, gates = module.net[0].proj.weight.float().norm(dim=1).chunk(2)
        norms = norms * values * gates
    return norms.cpu()


@criterion("taylor", reads_data=True)
def taylor(unet: UNet2DConditionModel, batches: Iterable[Any] | None = None, loss: Loss | None = None) -> Scores:
    """First-order change of the loss if a slot is masked: |sum of w dL/dw| over its columns in the consumer.

    This sum is the derivative of the loss with respect to a gate on the slot (Molchanov et al. 2019, arXiv:1906.10771,
    on gates instead of weights). For a block it is |sum of (replacement - output) dL/d output|. The result is the mean
    of the absolute values over the batches, since the signed values of a trained model cancel. All importances are in
    units of the loss, so they need no normalisation. Raises ConfigError without batches or loss, and for a loss that is
    not finite.
    """
    if batches is None or loss is None:
        raise ConfigError("criterion 'taylor' needs batches and a loss; give both, or choose 'magnitude'")
    layers, spare = width_layers(unet), spare_blocks(unet)
    readers = {key: consumer(unet, key).weight for key in layers}
    trained = {key: weight.requires_grad for key, weight in readers.items()}
    sums: Scores = {}
    count = 0
    try:
        for weight in readers.values():
            weight.requires_grad_(True)
        for batch in batches:
            count += 1
            for key, score in _gate_gradients(unet, batch, loss, readers, spare).items():
                slots = layers[key].slots if key in layers else 1
                score = score.reshape(slots, -1).sum(dim=1).abs()
                sums[key] = sums[key] + score if key in sums else score
    finally:
        for key, weight in readers.items():
            weight.requires_grad_(trained[key])
    if not count:
        raise ConfigError("criterion 'taylor' got no batches; give at least one")
    return {key: score / count for key, score in sums.items()}


def _gate_gradients(
    unet: UNet2DConditionModel, batch: Any, loss: Loss, readers: dict[GroupKey, Tensor], spare: Iterable[str]
) -> Scores:
    """Signed derivatives for one batch, float32 on the CPU: (channels,) for a layer, (1,) for a block.

    `torch.autograd.grad` does not write to the `.grad` of the weights.
    """
    calls: list[tuple[GroupKey, Tensor, Tensor]] = []

    def watch(name: str) -> Callable[[Any, tuple[Any, ...], Any], None]:
        def hook(_: Any, arguments: tuple[Any, ...], output: Any) -> None:
            result = output[0] if isinstance(output, tuple) else output
            change = arguments[0][:, : result.shape[1]].detach() - result.detach()
            calls.append((GroupKey("blocks", name), result, change))

        return hook

    handles = [unet.get_submodule(name).register_forward_hook(watch(name)) for name in spare]
    try:
        value = loss(unet, batch)
    finally:
        for handle in handles:
            handle.remove()
    if not torch.isfinite(value):
        raise ConfigError(f"criterion 'taylor': the loss is {value.item()}; check the batches and the model")
    outputs = [output for _, output, _ in calls]
    gradients = torch.autograd.grad(value, [*readers.values(), *outputs], allow_unused=True)
    scores: Scores = {}
    for (key, weight), gradient in zip(readers.items(), gradients, strict=False):
        product = torch.zeros_like(weight) if gradient is None else weight.detach() * gradient
        scores[key] = product.float().transpose(0, 1).flatten(1).sum(dim=1).cpu()
    for (key, _, change), gradient in zip(calls, gradients[len(readers) :], strict=True):
        if gradient is not None:
            scores[key] = scores.get(key, torch.zeros(1)) + (change * gradient).float().sum().cpu()[None]
    return scores
