"""Training data as the UNet sees it: latents and text states, computed once.

Pictures may share captions and captions may share a picture, so a row is a pair of indices into two stores.
Shapes: C latent channels, h x w latent size, L text tokens, D text width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pruneguard.errors import DataError

INDEX = "latents.json"


@dataclass(frozen=True)
class TensorStore:
    """Equal-shaped tensors by number, in shards that are held in memory or mapped from files."""

    shards: tuple[Tensor, ...]
    """Each (rows, ...); all but the last have as many rows as the first."""

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.shards)

    def rows(self, numbers: Sequence[int]) -> Tensor:
        """The tensors of these numbers stacked, in float32."""
        size = len(self.shards[0])
        return torch.stack([self.shards[number // size][number % size] for number in numbers]).float()


@dataclass(frozen=True)
class LatentSet:
    """Rows of one latent (C, h, w), scaled for the UNet, and the text states (L, D) of one caption."""

    images: TensorStore
    texts: TensorStore
    captions: tuple[str, ...]
    """The caption of each entry of `texts`."""
    image_of: Tensor
    """Entry of `images` for each row, (N,) int64."""
    text_of: Tensor
    """Entry of `texts` for each row, (N,) int64."""
    digest: str
    """Identifies what the whole set was made from; `where` leaves it unchanged."""
    shown: tuple[str, ...] = ()
    """Everything that each entry of `images` shows, in words, if the source knows it; a caption may name less."""

    def __len__(self) -> int:
        return len(self.image_of)

    def caption(self, row: int) -> str:
        return self.captions[int(self.text_of[row])]

    def latents(self, rows: Sequence[int]) -> Tensor:
        """(B, C, h, w) float32."""
        return self.images.rows([int(self.image_of[row]) for row in rows])

    def text(self, rows: Sequence[int]) -> Tensor:
        """(B, L, D) float32."""
        return self.texts.rows([int(self.text_of[row]) for row in rows])

    def where(self, keep: Callable[[str], bool]) -> LatentSet:
        """The rows whose caption passes `keep`, and whose `shown` passes it too if there is one. Copies no tensor."""
        kept = torch.tensor([keep(caption) for caption in self.captions], dtype=torch.bool)[self.text_of]
        if self.shown:
            kept &= torch.tensor([keep(words) for words in self.shown], dtype=torch.bool)[self.image_of]
        return replace(self, image_of=self.image_of[kept], text_of=self.text_of[kept])


def open_latent_set(folder: Path, *, max_memory_mb: int = 2048) -> LatentSet:
    """A set that `build_latent_set` wrote: in memory up to that size, and mapped from its files if it is larger.

    Raises DataError for a folder that is not a complete set.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        paths = {name: [folder / file for file in index[name]] for name in ("images", "texts")}
        size = sum(path.stat().st_size for group in paths.values() for path in group)
        in_memory = size <= max_memory_mb * 2**20
        stores = {name: TensorStore(tuple(_shard(path, in_memory) for path in group)) for name, group in paths.items()}
        rows = load_file(folder / index["rows"])
        return LatentSet(
            stores["images"],
            stores["texts"],
            tuple(index["captions"]),
            rows["image_of"],
            rows["text_of"],
            index["digest"],
            tuple(index["shown"]),
        )
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DataError(f"latent cache {folder} cannot be read ({error}); delete the folder to make it again") from None


def _shard(path: Path, in_memory: bool) -> Tensor:
    # safetensors maps the file; a clone in memory does not change if the file is changed or deleted later.
    tensor = load_file(path)["rows"]
    return tensor.clone() if in_memory else tensor
