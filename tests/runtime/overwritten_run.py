"""Draws, then overwrites and at last cuts short the weights of the engine that is loaded, and draws each time.

    python -m tests.runtime.overwritten_run FOLDER

Prints how many of the later pictures equal the first. A process that reads weights from the file itself draws another
picture first, and then dies of SIGBUS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from pruneguard.runtime import GuardedSampler
from tests.runtime.split_bundle import write_split_bundle


def main(folder: Path) -> None:
    bundle = write_split_bundle(folder / "bundle")
    sampler = GuardedSampler.from_bundle(bundle)

    def picture() -> bytes:
        return sampler("red", seed=1).images[0].tobytes()

    first = picture()
    weights = sorted(bundle.rglob("*.data"))
    for path in weights:
        with path.open("r+b") as file:
            file.write(np.full(path.stat().st_size // 4, 3, np.float32).tobytes())
    overwritten = picture()
    for path in weights:
        os.truncate(path, 0)
    print([overwritten, picture()].count(first))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
