"""The models that a run starts from: the teacher, and a student that was pruned before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import diffusers

from pruneguard.bundle import MANIFEST, MODEL, Bundle
from pruneguard.errors import ConfigError, ModelError
from pruneguard.models import Pipeline, find_folder, load_pipeline
from pruneguard.runs.processes import this_process
from pruneguard.runtime import SOLVERS, sampler_settings

_SHARED = ("in_channels", "out_channels", "cross_attention_dim", "block_out_channels")


def load_teacher(source: str | Path, scheduler: str | None = None, revision: str | None = None) -> Pipeline:
    """The pipeline, on this process's accelerator if there is one. Encoding, scoring and audits run there too.

    `revision` is the commit, branch or tag of a hub id. Raises ModelError, and LineageError for a bundle that changed.
    """
    teacher = _load(source, revision)
    if scheduler is None:
        sampler_settings(teacher)  # a scheduler that no solver computes is an error before any work
    else:
        kind = getattr(diffusers, SOLVERS.find(scheduler).settings.scheduler_class)
        teacher.scheduler = kind.from_config(sampler_settings(teacher, scheduler).scheduler)
    return teacher.to(this_process().device)


def load_student(source: str, teacher: Pipeline) -> Pipeline:
    """A model whose UNet was pruned before, from a diffusers folder, a bundle or a hub id, on the CPU.

    Raises ConfigError if the shape of its latents or text states differs from the teacher's, LineageError for a bundle
    that changed, and ModelError.
    """
    student = _load(Path(source) if Path(source).exists() else source)
    unet = student.unet
    for name in _SHARED:
        ours, theirs = unet.config[name], teacher.unet.config[name]
        if tuple(ours) != tuple(theirs) if isinstance(ours, list | tuple) else ours != theirs:
            raise ConfigError(
                f"--student {source} has {name} {ours} and the teacher {theirs}; choose the teacher it came from"
            )
    return student


def _load(source: str | Path, revision: str | None = None) -> Pipeline:
    """The pipeline of a source; that of a bundle from a private copy of its model, after every file was verified."""
    bundle = bundle_at(source)
    if bundle is None:
        return load_pipeline(source, revision=revision)
    if revision is not None:
        raise ModelError(f"{source}: only a model on the hub has a --revision; leave it out")
    with bundle.verified(MODEL) as files, files.on_disk() as folder:
        try:
            return replace(load_pipeline(folder / MODEL), source=str(source))
        except ModelError as error:
            raise ModelError(str(error).replace(str(folder), str(bundle.path))) from error


@contextmanager
def model_folder(source: str | Path, revision: str | None, files: Sequence[str]) -> Iterator[Path]:
    """The diffusers folder of a source, with the `files` of a hub repository; of a bundle a private, verified copy.

    Raises ModelError, and LineageError for a bundle that changed.
    """
    bundle = bundle_at(source)
    if bundle is None:
        yield find_folder(source, revision, files)[0]
        return
    with bundle.verified(MODEL) as copied, copied.on_disk() as folder:
        yield folder / MODEL


def bundle_at(source: str | Path) -> Bundle | None:
    """The bundle at `source`; None for a diffusers folder or a hub id. Raises BundleError."""
    return Bundle.open(source) if (Path(source) / MANIFEST).is_file() else None


def bundle_inputs(**sources: str | Path) -> dict[str, str]:
    """The digests of the sources that are bundles, by name, for a stage's record. Raises BundleError."""
    bundles = {name: bundle_at(source) for name, source in sources.items()}
    return {name: bundle.digest for name, bundle in bundles.items() if bundle}
