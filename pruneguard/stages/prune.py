"""Pruning a teacher's UNet to a MAC budget."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pruneguard.data.latents import LatentSet
from pruneguard.errors import ConfigError
from pruneguard.macs import unet_macs
from pruneguard.models import Pipeline, PrunedUNet2DConditionModel
from pruneguard.pruning.criteria import load_criterion
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.search import find_plan
from pruneguard.runs.aside import written_aside
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.stages.settings import PruneSettings
from pruneguard.training.batches import LowerBatch, LowerBatches
from pruneguard.training.objective import diffusion_of, lower_terms
from pruneguard.training.settings import LossSettings

BATCH = 16
_FILE = "plan.json"


def prune(
    teacher: Pipeline,
    data: LatentSet | None,
    settings: PruneSettings,
    *,
    losses: LossSettings | None = None,
    seed: int = 0,
    on_progress: OnProgress,
) -> PrunedUNet2DConditionModel:
    """A pruned copy of the teacher's UNet within the budget, on its device.

    The criterion reads `settings.batches` batches of `data` under the DDPM loss with the min-SNR weights of `losses`,
    which are those of the training that follows. Raises ConfigError.
    """
    return _pruned(teacher, _search(teacher, data, settings, losses or LossSettings(), seed, on_progress))


def prune_in(
    folder: Path,
    teacher: Pipeline,
    data: LatentSet | None,
    settings: PruneSettings,
    *,
    losses: LossSettings | None = None,
    seed: int = 0,
    on_progress: OnProgress,
) -> PrunedUNet2DConditionModel:
    """As `prune`, with the plan kept in a run's folder under a digest of all it depends on.

    A run that goes on reads the plan from there, and so does every process of a run: scores on an accelerator differ in
    their last bits from one time to the next, and one slot more or less makes another student. Raises ConfigError also
    for a plan that cannot be read or written.
    """
    losses = losses or LossSettings()
    made_from = {
        "teacher": fingerprint(teacher.unet),
        "scheduler": dict(teacher.scheduler.config),
        "sizes": [teacher.latent_size, teacher.text_tokens],
        "data": data.digest if data else None,
        "settings": asdict(settings),
        "min_snr": [losses.min_snr_gamma, losses.min_snr_form],
        "seed": seed,
    }
    kept = folder / f"plan-{digest_of(made_from)[:16]}"
    if not kept.exists():
        _write(kept, _search(teacher, data, settings, losses, seed, on_progress), made_from)
    return _pruned(teacher, _read(kept))


def _search(
    teacher: Pipeline,
    data: LatentSet | None,
    settings: PruneSettings,
    losses: LossSettings,
    seed: int,
    on_progress: OnProgress,
) -> PruningPlan:
    diffusion, ddpm_only = diffusion_of(teacher), replace(losses, ddpm=1, output_kd=0, feature_kd=0)

    def batches() -> Iterator[LowerBatch]:
        if data is None:
            raise ConfigError(f"criterion {settings.criterion!r} reads data; give --data, or use --criterion magnitude")
        source = LowerBatches(data, diffusion, teacher.encode_text([""]).float().cpu(), BATCH, 0.0, seed)
        for number in range(settings.batches):
            on_progress(Advance("prune", number, settings.batches))
            yield source.batch(number).rows(0, BATCH, teacher.device)

    def loss(unet: Any, batch: LowerBatch) -> Tensor:
        return lower_terms(unet, unet, batch, diffusion, ddpm_only)["ddpm"]

    scores = load_criterion(settings.criterion)(teacher.unet, batches(), loss)
    plan = find_plan(
        teacher.unet,
        scores,
        budget=settings.budget,
        latent_size=teacher.latent_size,
        text_tokens=teacher.text_tokens,
    )
    on_progress(Advance("prune", settings.batches, settings.batches))
    return plan


def _pruned(teacher: Pipeline, plan: PruningPlan) -> PrunedUNet2DConditionModel:
    pruned = PrunedUNet2DConditionModel.from_unet(teacher.unet, plan)
    pruned.eval()
    return pruned


def _write(folder: Path, plan: PruningPlan, made_from: Mapping[str, Any]) -> None:
    with written_aside(folder, ConfigError, "pruning plan") as aside:
        content = {"plan": plan.to_dict(), "made_from": made_from}
        (aside / _FILE).write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")


def _read(folder: Path) -> PruningPlan:
    try:
        return PruningPlan.from_dict(json.loads((folder / _FILE).read_text(encoding="utf-8"))["plan"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise ConfigError(
            f"pruning plan {folder / _FILE} cannot be read ({error}); delete its folder to search again"
        ) from None


def macs_record(teacher: Pipeline, unet: Any) -> dict[str, Any]:
    """MACs of one UNet call, dense and pruned, counted by the convention of `pruneguard.macs`."""
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
