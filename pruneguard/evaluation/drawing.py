"""Drawing the pictures of an audit: each prompt with its own seed and its own settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruneguard.concepts import Concept
from pruneguard.evaluation.detectors.detector import Detector, Images
from pruneguard.evaluation.space import Group
from pruneguard.runtime import Components, draw


@dataclass(frozen=True)
class Drawn:
    """Pictures (N, H, W, 3) of one size; `places` are the places of their prompts in the list of the audit."""

    places: tuple[int, ...]
    images: Images


SharedPictures = dict[tuple[tuple[str, ...], int, tuple[Group, ...]], tuple[Drawn, ...]]
"""Pictures by their prompts, seed and groups: audits of several concepts by the same components share some."""


def draw_pictures(
    components: Components,
    prompts: Sequence[str],
    seed: int,
    groups: Sequence[Group],
    *,
    batch_size: int,
    shared: SharedPictures | None = None,
    on_images: Callable[[int], None] | None = None,
) -> tuple[Drawn, ...]:
    """The pictures by their size, the model's own size first; picture i is drawn from `seed` + i.

    `groups` holds the settings of all pictures. `shared` gives what it has, and keeps what is drawn. `on_images` is
    told how many more pictures are done. Raises RequestError for a size that the model cannot have, and EngineError.
    """
    key = (tuple(prompts), seed, tuple(groups))
    if shared is not None and key in shared:
        if on_images:
            on_images(len(prompts))
        return shared[key]
    pictures: dict[tuple[int, ...], list[tuple[int, Images]]] = {}
    for group in groups:
        height, width = group.size or (None, None)
        for first in range(0, len(group.guidance), batch_size):
            guidance = group.guidance[first : first + batch_size]
            start = group.start + first
            images = draw(
                components,
                prompts[start : start + len(guidance)],
                range(seed + start, seed + start + len(guidance)),
                steps=group.steps,
                guidance_scale=guidance,
                negative_prompt=group.negatives[first : first + batch_size],
                height=height,
                width=width,
                batch_size=batch_size,
            )
            pictures.setdefault(images.shape[1:3], []).append((start, images))
            if on_images:
                on_images(len(images))
    drawn = tuple(
        Drawn(
            tuple(start + index for start, images in parts for index in range(len(images))),
            np.concatenate([images for _, images in parts]),
        )
        for parts in pictures.values()
    )
    if shared is not None:
        shared[key] = drawn
    return drawn


def own_size(drawn: Sequence[Drawn]) -> Drawn:
    """The pictures of the model's own size, of which there are none if nothing was drawn."""
    return drawn[0] if drawn else Drawn((), np.zeros((0, 1, 1, 3), np.uint8))


def detected(detector: Detector, concept: Concept, drawn: Sequence[Drawn]) -> NDArray[np.bool_]:
    """True (N,) for each picture of any size that shows the concept."""
    return np.concatenate([np.zeros(0, np.bool_), *(detector.detect(part.images, concept) for part in drawn)])
