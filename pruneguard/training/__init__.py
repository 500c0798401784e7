"""Training: distil a pruned student and suppress concepts in one run."""

from __future__ import annotations

from pruneguard.data.cache import CacheSettings
from pruneguard.data.coco import from_coco
from pruneguard.data.image_folder import from_image_folder
from pruneguard.data.latents import LatentSet
from pruneguard.data.synthetic import DrawSettings, from_captions
from pruneguard.runs.progress import Advance, OnProgress, RichProgress
from pruneguard.training.settings import TrainSettings
from pruneguard.training.trainer import TrainResult, train

__all__ = [
    "Advance",
    "CacheSettings",
    "DrawSettings",
    "LatentSet",
    "OnProgress",
    "RichProgress",
    "TrainResult",
    "TrainSettings",
    "from_captions",
    "from_coco",
    "from_image_folder",
    "train",
]
