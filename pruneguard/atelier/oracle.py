"""The oracle: a classifier of pictures of atelier's world."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from pruneguard.atelier import folder as weights_folder
from pruneguard.atelier.world import COLOURS, DRESSES, OBJECTS, STYLES, Scene

ATTRIBUTES: dict[str, tuple[str, ...]] = {"object": OBJECTS, "style": STYLES, "colour": COLOURS, "dress": DRESSES}

NONE = -1
"""The label of an attribute of which a picture shows no value: "none of these"."""
UNKNOWN = -2
"""The label of an attribute whose value nobody can tell; training skips it."""


def labels_of(scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """Class indices (N, 4) in the order of ATTRIBUTES; dress is -1 for a scene without a mannequin."""
    rows = [
        (
            OBJECTS.index(scene.object),
            STYLES.index(scene.style),
            COLOURS.index(scene.colour),
            DRESSES.index(scene.dress) if scene.dress else -1,
        )
        for scene in scenes
    ]
    return np.array(rows, np.int64)


def scene_of(labels: NDArray[np.int64]) -> Scene:
    """The scene of one row of `labels_of`."""
    name, style, colour, dress = (int(label) for label in labels)
    return Scene(OBJECTS[name], STYLES[style], COLOURS[colour], DRESSES[dress] if dress >= 0 else None)


class Oracle(nn.Module):
    """What a picture shows, attribute by attribute, or that it shows none of the attribute's values.

    Four strided convolution stages and one linear head an attribute, whose last class is "none of these". Reads
    pictures (B, 3, 64, 64) in [-1, 1]. The probabilities are calibrated on pictures that training did not see.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            stages += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.trunk = nn.Sequential(*stages)
        self.heads = nn.ModuleDict({name: nn.Linear(128 * 4, len(classes) + 1) for name, classes in ATTRIBUTES.items()})
        self.squeeze = nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten())

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes + 1) for each attribute."""
        features = self.squeeze(self.trunk(pictures))
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def probabilities(self, images: NDArray[np.uint8], batch: int = 64) -> dict[str, NDArray[np.float32]]:
        """Probabilities (N, classes + 1) for each attribute of images (N, 64, 64, 3); the last column is "none"."""
        parts: dict[str, list[Tensor]] = {name: [] for name in ATTRIBUTES}
        for start in range(0, len(images), batch):
            pictures = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
            for name, logits in self(pictures).items():
                parts[name].append(logits.softmax(1))
        empty = {name: torch.zeros(0, len(classes) + 1) for name, classes in ATTRIBUTES.items()}
        return {name: torch.cat([empty[name], *found]).numpy() for name, found in parts.items()}

    def read(self, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.int64]:
        """Class indices (N, 4), as `labels_of`, of images (N, 64, 64, 3); NONE for none, or for a dress on no body."""
        columns = []
        for name, probabilities in self.probabilities(images, batch).items():
            best = probabilities.argmax(1)
            columns.append(np.where(best == len(ATTRIBUTES[name]), NONE, best))
        labels = np.stack(columns, 1).astype(np.int64)
        labels[labels[:, 0] != OBJECTS.index("mannequin"), 3] = NONE
        return labels

    @torch.inference_mode()
    def features(self, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float64]:
        """Features (N, 128) of images (N, 64, 64, 3): the output of the trunk, averaged over the picture."""
        rows = [torch.zeros(0, 128)]
        for start in range(0, len(images), batch):
            pictures = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
            rows.append(self.trunk(pictures).mean((2, 3)))
        return torch.cat(rows).double().numpy()


def load_oracle(folder: Path | None = None) -> Oracle:
    """The oracle that ships with atelier, or the one in `folder`."""
    path = (folder or weights_folder()) / "oracle.safetensors"
    oracle = Oracle()
    oracle.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return oracle.eval().requires_grad_(False)
