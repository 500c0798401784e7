"""Training: distil a pruned student and suppress concepts in one run."""

from __future__ import annotations

from pruneguard.training.atelier import from_atelier
from pruneguard.training.coco import from_coco
from pruneguard.training.image_folder import from_image_folder
from pruneguard.training.latent_cache import CacheSettings
from pruneguard.training.latents import LatentSet
from pruneguard.training.progress import Advance, OnProgress, RichProgress
from pruneguard.training.settings import TrainSettings, list_presets, preset
from pruneguard.training.synthetic import DrawSettings, from_captions
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
    "from_atelier",
    "from_captions",
    "from_coco",
    "from_image_folder",
    "list_presets",
    "preset",
    "train",
]
