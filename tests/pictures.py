"""Pictures with captions, as tests give them to `--data`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from pruneguard.atelier import world


def write_pictures(folder: Path) -> None:
    """Six pictures with captions in the folder, as the imagefolder convention has it."""
    folder.mkdir(exist_ok=True)
    rng, lines = np.random.default_rng(0), []
    for number, scene in enumerate(world.sample_scene(rng) for _ in range(6)):
        Image.fromarray(world.render(scene, rng)).save(folder / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f"a {scene.colour} {scene.object}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
