"""The memory that a request needs, known before anything is computed, and the memory that this machine has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pruneguard.errors import BundleError, ConfigError, RequestError
from pruneguard.measurement import Measurement, find

from .request import Request

MIB = 1 << 20
UNKNOWN = 4096 * MIB
"""The budget on a system that does not tell its memory."""
_LARGEST = 2**40


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Bytes that one row of n latent elements needs in a call of an engine: linear n + quadratic n^2.

    The linear part are convolutions, the quadratic one is attention, which compares every two elements.
    """

    linear: float
    quadratic: float

    def bytes(self, rows: int, elements: int) -> int:
        """Bytes for `rows` rows of `elements` latent elements, height by width."""
        return round(rows * (self.linear * elements + self.quadratic * elements**2))


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What calls of a model's large engines need beside the weights. The export computes it."""

    unet: Demand
    vae_decoder: Demand

    @classmethod
    def read(cls, measurements: Iterable[Measurement]) -> Self | None:
        """The footprint in an engine's record; None if there is none. Raises BundleError for a negative number."""
        measured = list(measurements)
        values: dict[str, dict[str, float]] = {}
        for component in ("unet", "vae_decoder"):
            for part in ("linear", "quadratic"):
                found = find(measured, f"memory/{component}/{part}")
                if found is None:
                    return None
                if not 0 <= found.value <= _LARGEST:
                    raise BundleError(f"the engine's record has {found.value:g} bytes as {found.name}; export it again")
                values.setdefault(component, {})[part] = found.value
        return cls(**{component: Demand(**parts) for component, parts in values.items()})

    def named(self) -> dict[str, float]:
        """Its numbers by the names that an engine's record has for them."""
        return {
            f"memory/{component}/{part}": getattr(demand, part)
            for component, demand in (("unet", self.unet), ("vae_decoder", self.vae_decoder))
            for part in ("linear", "quadratic")
        }


STABLE_DIFFUSION = Footprint(
    unet=Demand(linear=103_000.0, quadratic=96.0), vae_decoder=Demand(linear=687_000.0, quadratic=11.0)
)
"""The footprint of Stable Diffusion 1.4, which stands for a model whose own is not known."""


def needed_bytes(request: Request, footprint: Footprint, vae_scale: int) -> int:
    """Bytes that a request needs at once: one call of the UNet or of the VAE decoder, and the finished images.

    With `cfg` "batched" a guided image has two rows in a UNet call.
    """
    images = min(request.batch_size, len(request.prompts))
    guided = request.cfg == "batched" and any(scale != 1 for scale in request.guidance)
    elements = request.latent_shape[1] * request.latent_shape[2]
    call = max(
        footprint.unet.bytes(2 * images if guided else images, elements), footprint.vae_decoder.bytes(images, elements)
    )
    finished = 2 * 3 * elements * vae_scale**2 * len(request.prompts)  # an array and its image, a byte a channel
    return call + finished


def check_memory(request: Request, footprint: Footprint, vae_scale: int, budget: int) -> None:
    """Raises RequestError for a request that needs more than `budget` bytes."""
    needed = needed_bytes(request, footprint, vae_scale)
    if needed > budget:
        height, width = (side * vae_scale for side in request.latent_shape[1:])
        images = min(request.batch_size, len(request.prompts))
        raise RequestError(
            f"{images} images of {width} x {height} pixels at once need up to {-(-needed // MIB)} MiB, and"
            f" {budget // MIB} MiB are free for a request; ask for smaller ones, or give a smaller batch_size or a"
            " larger memory_mib"
        )


def memory_budget(memory_mib: int | None) -> int:
    """Bytes that a request may need: `memory_mib`, or what is free on this machine now. Raises ConfigError."""
    if memory_mib is None:
        return available_memory()
    if type(memory_mib) is not int or not 1 <= memory_mib <= _LARGEST:
        raise ConfigError(f"memory_mib must be a whole number of MiB from 1, not {memory_mib!r}")
    return memory_mib * MIB


def available_memory() -> int:
    """Bytes that a process can get here without swapping: the system's, or the control group's if that has fewer."""
    root = Path("/sys/fs/cgroup")
    groups = [root, *_own_groups(root)]
    free = [_system_memory(), *(left for group in groups for left in _group_memory(group))]
    known = [value for value in free if value is not None]
    return max(0, min(known)) if known else UNKNOWN


def _system_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def _own_groups(root: Path, said: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The folders of this process's control group of version 2 and of the groups around it, without the root."""
    try:
        lines = said.read_text().splitlines()
    except OSError:
        return []
    place = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    parts = [part for part in place.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]


def _group_memory(root: Path) -> list[int]:
    """What is left of the limits of a control group, of version 2 and of version 1.

    Files that were read count as used there until something else needs their memory, so those are added again.
    """
    left = []
    for folder, limit, used, cached in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            free = int((folder / limit).read_text()) - int((folder / used).read_text())
        except (OSError, ValueError):  # no such group, or a limit of "max"
            continue
        left.append(free + _statistic(folder / "memory.stat", cached))
    return left


def _statistic(path: Path, name: str) -> int:
    """A number of a control group's statistics; 0 if it is not there."""
    try:
        return int(dict(line.split() for line in path.read_text().splitlines()).get(name, 0))
    except (OSError, ValueError):
        return 0
