from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pruneguard.data import cache as latent_cache
from pruneguard.data.cache import CacheSettings, build_latent_set, encode_images
from pruneguard.data.latents import LatentSet, open_latent_set
from pruneguard.errors import ConfigError, DataError
from pruneguard.models import Pipeline
from pruneguard.runs.progress import Advance

CAPTIONS = ["a red disc", "a blue ring", "a red disc"]


def build(
    pipeline: Pipeline, cache: CacheSettings, seen: list[Advance] | None = None, shown: Sequence[str] = ()
) -> LatentSet:
    def latents() -> Iterator[Tensor]:
        for number in range(2):
            yield torch.full((1, 4, 16, 16), float(number))

    return build_latent_set(
        pipeline,
        latents,
        image_count=2,
        image_of=[0, 1, 1],
        captions=CAPTIONS,
        shown=shown,
        made_from={"name": "test"},
        cache=cache,
        on_progress=(seen if seen is not None else []).append,
    )


def check(found: LatentSet, pipeline: Pipeline, tolerance: float = 0.0) -> None:
    assert len(found) == 3
    assert [found.caption(row) for row in range(3)] == CAPTIONS
    assert found.latents([2, 0])[:, 0, 0, 0].tolist() == [1.0, 0.0]
    torch.testing.assert_close(found.text([0, 1]), pipeline.encode_text(CAPTIONS[:2]), rtol=tolerance, atol=tolerance)
    assert len(found.texts) == 2


def test_in_memory(tiny_pipeline: Pipeline) -> None:
    check(build(tiny_pipeline, CacheSettings()), tiny_pipeline)


def test_kept_and_found_again(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    seen: list[Advance] = []
    cache = CacheSettings(folder=tmp_path)
    first = build(tiny_pipeline, cache, seen)
    check(first, tiny_pipeline)
    assert [(advance.phase, advance.done, advance.total) for advance in seen] == [
        ("encode images", 1, 2),
        ("encode images", 2, 2),
        ("encode captions", 2, 2),
    ]
    seen.clear()
    again = build(tiny_pipeline, cache, seen)
    assert not seen
    assert again.digest == first.digest
    check(again, tiny_pipeline)
    assert [path.name for path in tmp_path.iterdir()] == [f"latents-{first.digest[:16]}"]


def test_another_model_means_another_set(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    first = build(tiny_pipeline, CacheSettings(folder=tmp_path))
    with torch.no_grad():
        tiny_pipeline.vae.decoder.conv_in.weight[0, 0, 0, 0] += 1
    assert build(tiny_pipeline, CacheSettings(folder=tmp_path)).digest != first.digest


def test_large_sets_are_mapped_float16_shards(
    tiny_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_cache, "_SHARD_BYTES", 4 * 16 * 16 * 2)
    monkeypatch.setattr(CacheSettings, "__post_init__", lambda self: None)
    none = CacheSettings(folder=tmp_path, max_memory_mb=0)
    found = build(tiny_pipeline, none)
    check(found, tiny_pipeline, tolerance=2e-3)
    assert [len(shard) for shard in found.images.shards] == [1, 1]
    assert found.images.shards[0].dtype == torch.float16
    with pytest.raises(ConfigError, match="beyond max_memory_mb 0; give a cache folder"):
        build(tiny_pipeline, CacheSettings(max_memory_mb=0))


def test_where_keeps_rows_by_caption(tiny_pipeline: Pipeline) -> None:
    found = build(tiny_pipeline, CacheSettings())
    kept = found.where(lambda words: "red" in words)
    assert [kept.caption(row) for row in range(len(kept))] == ["a red disc", "a red disc"]
    assert kept.latents([1])[0, 0, 0, 0].item() == 1.0


def test_where_also_reads_what_a_picture_shows(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    shown = ("a red disc in glow style", "a red ring in flat style")
    for cache in (CacheSettings(), CacheSettings(folder=tmp_path), CacheSettings(folder=tmp_path)):
        found = build(tiny_pipeline, cache, shown=shown)
        assert found.shown == shown
        kept = found.where(lambda words: "glow" not in words)
        assert [kept.caption(row) for row in range(len(kept))] == ["a blue ring", "a red disc"]
        assert kept.latents([0, 1])[:, 0, 0, 0].tolist() == [1.0, 1.0]
    assert found.digest != build(tiny_pipeline, CacheSettings()).digest


def test_a_cache_of_another_format_is_not_opened(
    tiny_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(tiny_pipeline, CacheSettings(folder=tmp_path))
    monkeypatch.setattr(latent_cache, "_FORMAT", 3)
    assert build(tiny_pipeline, CacheSettings(folder=tmp_path)).digest != first.digest
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_cache_is_named(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    found = build(tiny_pipeline, CacheSettings(folder=tmp_path))
    folder = tmp_path / f"latents-{found.digest[:16]}"
    shard = folder / "images-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=rf"latent cache {folder} cannot be read .*delete the folder"):
        open_latent_set(folder)


def test_a_cache_that_fails_leaves_nothing(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    def latents() -> Iterator[Tensor]:
        yield torch.zeros(1, 4, 16, 16)
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"No space left on device\); free some space"):
        build_latent_set(
            tiny_pipeline,
            latents,
            image_count=2,
            image_of=[0, 1],
            captions=["a", "b"],
            made_from={},
            cache=CacheSettings(folder=tmp_path),
        )
    assert list(tmp_path.iterdir()) == []


def test_images_are_encoded_by_the_posteriors_mean(tiny_pipeline: Pipeline) -> None:
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    latents = encode_images(tiny_pipeline, pixels)
    with torch.no_grad():
        scaled = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        expected = tiny_pipeline.vae.encode(scaled).latent_dist.mode() * 0.18215
    assert torch.equal(latents, expected)
    assert torch.equal(latents, encode_images(tiny_pipeline, pixels))
