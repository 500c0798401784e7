"""Reading a picture file at the model's native size."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pruneguard.errors import DataError


def read_picture(path: Path, size: int) -> Tensor:
    """The picture as uint8 RGB (size, size, 3): turned upright, resized to `size` on the shorter side, centre cropped.

    Raises DataError, which names the file, if it is missing, damaged, too large to be safe, or no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
    except FileNotFoundError:
        raise DataError(f"picture {path} does not exist; correct its name in the caption file, or add it") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"picture {path} cannot be read ({error}); replace it, or take it out of the caption file"
        ) from None
    fitted = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(fitted).copy())


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of that name below the folder. Raises DataError for a name that leads out of the folder."""
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{where}: file name {name!r} leads out of {folder}; names must be relative to it")
    return path
