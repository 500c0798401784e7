"""Pruning a teacher's UNet to a MAC budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from pruneguard.errors import ConfigError
from pruneguard.macs import unet_macs
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel, load_pipeline
from pruneguard.pruning.criteria import load_criterion
from pruneguard.pruning.search import find_plan
from pruneguard.stages.settings import PruneSettings
from pruneguard.training.batches import LowerBatch, LowerBatches
from pruneguard.training.latents import LatentSet
from pruneguard.training.levels import lower_terms
from pruneguard.training.progress import Advance, OnProgress
from pruneguard.training.settings import LossSettings
from pruneguard.training.trainer import diffusion_of

BATCH = 16


def prune(
    teacher: Pipeline, data: LatentSet | None, settings: PruneSettings, *, seed: int = 0, on_progress: OnProgress
) -> PrunedUNet2DConditionModel:
    """A pruned copy of the teacher's UNet within the budget.

    The criterion reads `settings.batches` batches of `data` under the DDPM loss. Raises ConfigError.
    """
    diffusion = diffusion_of(teacher)

    def batches() -> Iterator[LowerBatch]:
        if data is None:
            raise ConfigError(f"criterion {settings.criterion!r} reads data; give --data, or use --criterion magnitude")
        source = LowerBatches(data, diffusion, teacher.encode_text([""]).float().cpu(), BATCH, 0.0, seed)
        for number in range(settings.batches):
            on_progress(Advance("prune", number, settings.batches))
            yield source.batch(number).rows(0, BATCH, teacher.device)

    def loss(unet: Any, batch: LowerBatch) -> Tensor:
        return lower_terms(unet, unet, batch, diffusion, LossSettings(output_kd=0, feature_kd=0))["ddpm"]

    scores = load_criterion(settings.criterion)(teacher.unet, batches(), loss)
    plan = find_plan(
        teacher.unet,
        scores,
        budget=settings.budget,
        latent_size=teacher.latent_size,
        text_tokens=teacher.text_tokens,
    )
    on_progress(Advance("prune", settings.batches, settings.batches))
    pruned = PrunedUNet2DConditionModel.from_unet(teacher.unet, plan)
    pruned.eval()
    return pruned


def load_student(source: str, teacher: Pipeline) -> Any:
    """A UNet that was pruned before, from a diffusers folder, a bundle or a hub id.

    Raises ConfigError where its latents or text states are not the teacher's.
    """
    unet = load_pipeline(Path(source) if Path(source).exists() else source).unet
    for name in ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels"):
        ours, theirs = unet.config[name], teacher.unet.config[name]
        if tuple(ours) != tuple(theirs) if isinstance(ours, list | tuple) else ours != theirs:
            raise ConfigError(
                f"--student {source} has {name} {ours} and the teacher {theirs}; choose the teacher it came from"
            )
    return unet


def macs_record(teacher: Pipeline, unet: Any) -> dict[str, Any]:
    """MACs of one UNet call, dense and pruned, by the convention of `pruneguard.macs`."""
    sizes = {"latent_size": teacher.latent_size, "text_tokens": teacher.text_tokens}
    dense, pruned = unet_macs(teacher.unet, **sizes), unet_macs(unet, **sizes)
    return {
        **sizes,
        "dense": dense.total,
        "pruned": pruned.total,
        "ratio": round(pruned.total / dense.total, 6),
        "dense_without_attention": dense.without_attention,
        "pruned_without_attention": pruned.without_attention,
        "dense_parameters": dense.parameters,
        "pruned_parameters": pruned.parameters,
    }
