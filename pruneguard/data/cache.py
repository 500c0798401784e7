"""Making a latent set: the pipeline encodes pictures and captions, into memory or into a cache folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pruneguard.data.latents import INDEX, LatentSet, TensorStore, open_latent_set
from pruneguard.errors import ConfigError, DataError
from pruneguard.runs.aside import written_aside
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.progress import Advance, OnProgress, silent

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

_SHARD_BYTES = 256 * 2**20
_FORMAT = 2  # the version of a cache folder's layout; a part of the digest, so no other version is ever opened


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """With a folder the set is written there and found again by its digest; without one it stays in memory."""

    folder: Path | None = None
    max_memory_mb: int = 2048
    """A larger set (in MB) is stored as float16 and mapped from its files."""
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.max_memory_mb < 1 or self.batch_size < 1:
            raise ConfigError("latent cache: `max_memory_mb` and `batch_size` must be at least 1")


def encode_images(pipeline: Pipeline, pixels: Tensor) -> Tensor:
    """Latents (B, C, h, w) in float32 on the CPU, scaled for the UNet, of uint8 pictures (B, H, W, 3).

    They are the mean of the posterior, not a sample: each latent is computed only once, so a sample's noise would be
    the same in every epoch.
    """
    parameter = next(pipeline.vae.parameters())
    batch = pixels.permute(0, 3, 1, 2).to(parameter.device, parameter.dtype) / 127.5 - 1
    with torch.no_grad():
        latents: Tensor = pipeline.vae.encode(batch).latent_dist.mean * pipeline.vae.config.scaling_factor
    return latents.float().cpu()


def encode_in_batches(pipeline: Pipeline, pictures: Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    """Latents, batch by batch, of uint8 pictures (H, W, 3)."""
    pending: list[Tensor] = []
    for picture in pictures:
        pending.append(picture)
        if len(pending) == batch_size:
            yield encode_images(pipeline, torch.stack(pending))
            pending = []
    if pending:
        yield encode_images(pipeline, torch.stack(pending))


def encode_captions(pipeline: Pipeline, captions: Sequence[str], batch_size: int) -> Iterator[Tensor]:
    """Text states, batch by batch, (B, L, D) in float32 on the CPU."""
    for start in range(0, len(captions), batch_size):
        with torch.no_grad():
            yield pipeline.encode_text(captions[start : start + batch_size]).float().cpu()


def build_latent_set(
    pipeline: Pipeline,
    latents: Callable[[], Iterator[Tensor]],
    *,
    image_count: int,
    image_of: Sequence[int],
    captions: Sequence[str],
    shown: Sequence[str] = (),
    made_from: Mapping[str, Any],
    cache: CacheSettings,
    on_progress: OnProgress = silent,
) -> LatentSet:
    """A set with one row for each entry of `captions`; row i shows picture `image_of[i]`.

    `shown` says in words everything that each picture shows; it is empty if the source does not know. `latents()`
    yields the pictures' latents in batches; it is not called if the cache has a set of the same digest. The digest
    covers `made_from`, the words and the encoders' weights. Raises ConfigError for a set that is too large for memory
    and has no folder, and DataError for a cache that cannot be read or written.
    """
    unique = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    models = {"vae": fingerprint(pipeline.vae), "text_encoder": fingerprint(pipeline.text_encoder)}
    words = {"captions": list(captions), "shown": list(shown), "image_of": list(image_of)}
    digest = digest_of({"format": _FORMAT, **made_from, **models, **words})
    folder = cache.folder / f"latents-{digest[:16]}" if cache.folder else None
    if folder and folder.exists():
        return open_latent_set(folder, max_memory_mb=cache.max_memory_mb)
    rows = {
        "image_of": torch.tensor(image_of, dtype=torch.int64),
        "text_of": torch.tensor([unique[caption] for caption in captions], dtype=torch.int64),
    }
    floats = image_count * pipeline.latent_channels * pipeline.latent_size**2
    floats += len(unique) * pipeline.text_tokens * int(pipeline.text_encoder.config.hidden_size)
    large = floats * 4 > cache.max_memory_mb * 2**20
    if large and not folder:
        raise ConfigError(
            f"{len(captions)} rows need {floats * 4 >> 20} MB, beyond max_memory_mb {cache.max_memory_mb}; "
            "give a cache folder, or raise the limit"
        )
    batches = {
        "images": _shown(latents(), "encode images", image_count, on_progress),
        "texts": _shown(
            encode_captions(pipeline, list(unique), cache.batch_size), "encode captions", len(unique), on_progress
        ),
    }
    if folder is None:
        stores = {name: TensorStore((torch.cat(list(parts)),)) for name, parts in batches.items()}
        return LatentSet(stores["images"], stores["texts"], tuple(unique), **rows, digest=digest, shown=tuple(shown))
    dtype = torch.float16 if large else torch.float32
    _write(folder, batches, rows, {"captions": list(unique), "digest": digest, "shown": list(shown)}, dtype)
    return open_latent_set(folder, max_memory_mb=cache.max_memory_mb)


def _shown(batches: Iterator[Tensor], phase: str, total: int, on_progress: OnProgress) -> Iterator[Tensor]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        on_progress(Advance(phase, done, total))


def _write(
    folder: Path,
    batches: Mapping[str, Iterator[Tensor]],
    rows: Mapping[str, Tensor],
    index: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    """Writes a set to a temporary folder and renames it, so a killed run leaves no incomplete set."""
    with written_aside(folder, DataError, "latent cache") as aside:
        for name, parts in batches.items():
            index[name] = list(_write_shards(aside, name, parts, dtype))
        save_file(dict(rows), aside / "rows.safetensors")
        (aside / INDEX).write_text(json.dumps({**index, "rows": "rows.safetensors"}), encoding="utf-8")


def _write_shards(folder: Path, name: str, parts: Iterator[Tensor], dtype: torch.dtype) -> Iterator[str]:
    """Names of the files written; all shards except the last have the same number of rows."""
    pending: list[Tensor] = []
    held, size, number = 0, 0, 0

    def save(rows: Tensor) -> str:
        file = f"{name}-{number:05d}.safetensors"
        save_file({"rows": rows.contiguous()}, folder / file)
        return file

    for part in parts:
        size = size or max(1, _SHARD_BYTES // (part[0].numel() * dtype.itemsize))
        pending.append(part.to(dtype))
        held += len(part)
        while held >= size:
            joined = torch.cat(pending)
            yield save(joined[:size])
            number, held, pending = number + 1, held - size, [joined[size:]]
    if held:
        yield save(torch.cat(pending))
