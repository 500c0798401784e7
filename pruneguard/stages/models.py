"""The models that a run starts from: the teacher, and a student that was pruned before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers

from pruneguard.bundle import MANIFEST, MODEL, Bundle
from pruneguard.errors import ConfigError, ModelError
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runs.processes import this_process
from pruneguard.runtime import SOLVERS, sampler_settings

_SHARED = ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels")


def load_teacher(source: str | Path, scheduler: str | None = None) -> Pipeline:
    """The pipeline, on this process's accelerator if there is one. Encoding, scoring and audits run there too.

    Raises ModelError, and LineageError for a bundle that changed.
    """
    teacher = _load(source)
    if scheduler is None:
        sampler_settings(teacher)  # a scheduler that no solver computes is an error before any work
    else:
        kind = getattr(diffusers, SOLVERS.find(scheduler).settings.scheduler_class)
        teacher.scheduler = kind.from_config(sampler_settings(teacher, scheduler).scheduler)
    return teacher.to(this_process().device)


def load_student(source: str, teacher: Pipeline) -> Any:
    """A UNet that was pruned before, from a diffusers folder, a bundle or a hub id, on the CPU.

    Raises ConfigError if the shape of its latents or text states differs from the teacher's, LineageError for a bundle
    that changed, and ModelError.
    """
    unet = _load(Path(source) if Path(source).exists() else source).unet
    for name in _SHARED:
        ours, theirs = unet.config[name], teacher.unet.config[name]
        if tuple(ours) != tuple(theirs) if isinstance(ours, list | tuple) else ours != theirs:
            raise ConfigError(
                f"--student {source} has {name} {ours} and the teacher {theirs}; choose the teacher it came from"
            )
    return unet


def _load(source: str | Path) -> Pipeline:
    """The pipeline of a source; that of a bundle from a private copy of its model, after every file was verified."""
    bundle = bundle_at(source)
    if bundle is None:
        return load_pipeline(source)
    with bundle.verified(MODEL) as files, files.on_disk() as folder:
        try:
            return replace(load_pipeline(folder / MODEL), source=str(source))
        except ModelError as error:
            raise ModelError(str(error).replace(str(folder), str(bundle.path))) from error


def bundle_at(source: str | Path) -> Bundle | None:
    """The bundle at `source`; None for a diffusers folder or a hub id. Raises BundleError."""
    return Bundle.open(source) if (Path(source) / MANIFEST).is_file() else None


def bundle_inputs(**sources: str | Path) -> dict[str, str]:
    """The digests of the sources that are bundles, by name, for a stage's record. Raises BundleError."""
    bundles = {name: bundle_at(source) for name, source in sources.items()}
    return {name: bundle.digest for name, bundle in bundles.items() if bundle}
