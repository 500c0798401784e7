"""What a request needs, and what a machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import BundleDraft
from pruneguard.errors import BundleError, ConfigError, RequestError
from pruneguard.measurement import Measurement
from pruneguard.runtime import Components, GuardedSampler
from pruneguard.runtime.sampling import memory
from pruneguard.runtime.sampling.memory import Demand, Footprint, available_memory, needed_bytes
from pruneguard.runtime.sampling.request import make_request
from tests.runtime.tiny_bundle import add_audit, engine_record, tiny_settings

ATELIER = Footprint(
    unet=Demand(linear=10_767.0, quadratic=2.99), vae_decoder=Demand(linear=43_064.0, quadratic=0.0)
)  # of the embedded model, whose latents have 16 x 16 elements and whose pictures 64 x 64 pixels


def needed(prompts: int = 1, **options: Any) -> int:
    settings = tiny_settings(latent_size=16, vae_scale=4)
    request = make_request(settings, prompts=["red"] * prompts, seeds=range(prompts), **options)
    return needed_bytes(request, ATELIER, settings.vae_scale)


def test_the_larger_call_counts_and_the_images() -> None:
    # Per image: two UNet rows of 256 elements (5.9 MB together) or one of the decoder (11.0 MB), and 64 x 64 x 3 x 2.
    assert needed() == 43_064 * 256 + 6 * 64 * 64
    assert needed(prompts=8, batch_size=4) == 4 * 43_064 * 256 + 8 * 6 * 64 * 64
    # At 4 times the sides the attention of the UNet is larger.
    row = round(10_767 * 4096 + 2.99 * 4096**2)
    assert needed(height=256, width=256) == pytest.approx(2 * row + 6 * 256 * 256, abs=2)
    assert needed(height=256, width=256, cfg="sequential") == 43_064 * 4096 + 6 * 256 * 256
    assert needed(height=256, width=256, guidance_scale=1) == 43_064 * 4096 + 6 * 256 * 256


@pytest.fixture
def atelier_sized(parts: Components) -> Callable[..., GuardedSampler]:
    """A sampler with the sizes and the footprint of the embedded model."""

    def make(memory_mib: int | None) -> GuardedSampler:
        components = Components(
            text_encoder=parts.text_encoder,
            unet=parts.unet,
            vae_decoder=parts.vae_decoder,
            tokenizer=parts.tokenizer,
            sampler=tiny_settings(latent_size=32),
            footprint=ATELIER,
        )
        return GuardedSampler(components, memory_mib=memory_mib, allow_unmeasured=True)

    return make


def test_the_native_size_passes_a_small_budget_and_sixteen_times_its_area_does_not(
    atelier_sized: Callable[..., GuardedSampler],
) -> None:
    sampler = atelier_sized(50)
    assert sampler("red", seed=1, steps=1).images[0].size == (64, 64)
    message = (
        "1 images of 256 x 256 pixels at once need up to 1868 MiB, and 50 MiB are free for a request; ask for smaller"
        " ones, or give a smaller batch_size or a larger memory_mib"
    )
    with pytest.raises(RequestError, match=message):
        sampler("red", seed=1, steps=1, height=256, width=256)
    with pytest.raises(RequestError, match="4 images of 64 x 64 pixels at once need up to 169 MiB"):
        sampler(["red"] * 4, seed=1, steps=1)
    assert len(atelier_sized(200)(["red"] * 4, seed=1, steps=1).images) == 4


def test_no_size_is_beyond_what_can_be_refused(atelier_sized: Callable[..., GuardedSampler]) -> None:
    with pytest.raises(RequestError, match=r"16384 x 16384 pixels at once need up to \d+ MiB"):
        atelier_sized(None)("red", height=16384, width=16384)
    with pytest.raises(RequestError, match="height must be a whole number from 1 to 16384"):
        atelier_sized(None)("red", height=16400)


def test_a_budget_is_a_number_of_mebibytes(parts: Components) -> None:
    for wrong in (0, -1, 1.5, True, "64", 2**60):
        with pytest.raises(ConfigError, match="memory_mib must be a whole number of MiB from 1"):
            GuardedSampler(parts, memory_mib=wrong)  # type: ignore[arg-type]


def test_the_footprint_comes_from_the_engines_record(make_bundle: Callable[..., Path]) -> None:
    def fill(draft: BundleDraft, linear: float = 5000.0) -> None:
        names = Footprint(unet=Demand(linear=linear, quadratic=2.0), vae_decoder=Demand(linear=7.0, quadratic=0.0))
        entries = [Measurement(name=name, value=value, unit="bytes") for name, value in names.named().items()]
        draft.add_engine("onnx-fp32", engine_record(measurements=entries))
        add_audit(draft)

    sampler = GuardedSampler.from_bundle(make_bundle(change=fill), memory_mib=1)
    assert sampler.components.footprint is not None
    assert sampler.components.footprint.unet == Demand(linear=5000.0, quadratic=2.0)
    assert sampler("red", seed=1).seeds == (1,)
    with pytest.raises(RequestError, match=r"2 images of 16 x 16 pixels at once need up to 2 MiB, and 1 MiB are free"):
        sampler(["red", "blue"], seed=1)
    with pytest.raises(BundleError, match=r"has -1 bytes as memory/unet/linear; export it again"):
        GuardedSampler.from_bundle(make_bundle(change=lambda draft: fill(draft, -1.0)))


def test_a_model_of_unknown_footprint_counts_as_stable_diffusion(parts: Components) -> None:
    sampler = GuardedSampler(parts, memory_mib=100, allow_unmeasured=True)
    assert sampler("red", seed=1).seeds == (1,)
    with pytest.raises(RequestError, match="1 images of 64 x 64 pixels at once need up to 682 MiB, and 100 MiB"):
        sampler("red", height=64, width=64)


def test_what_is_free_is_the_least_of_system_and_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**20 < available_memory() < 2**50
    root = tmp_path
    assert memory._group_memory(root) == []
    (root / "memory.max").write_text("max\n")
    (root / "memory.current").write_text("5\n")
    assert memory._group_memory(root) == []
    (root / "memory.max").write_text("1000\n")
    assert memory._group_memory(root) == [995]
    (root / "memory.stat").write_text("anon 4\ninactive_file 3\n")  # a file that was read can be dropped
    assert memory._group_memory(root) == [998]
    (root / "said").write_text("3:memory:/elsewhere\n0::/service/worker\n")
    assert memory._own_groups(root, root / "said") == [root / "service", root / "service" / "worker"]
    assert memory._own_groups(root, root / "nothing") == []
    monkeypatch.setattr(memory, "_system_memory", lambda: 400)
    monkeypatch.setattr(memory, "_group_memory", lambda _: [995, -3])
    assert available_memory() == 0
    monkeypatch.setattr(memory, "_group_memory", lambda _: [])
    assert available_memory() == 400
    monkeypatch.setattr(memory, "_system_memory", lambda: None)
    assert available_memory() == 4 << 30
