"""The growth of a process's memory in one call of an exported engine, in bytes: the UNet's, then the VAE decoder's.

python -m tests.runtime.demand_run FOLDER ROWS SIDE
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

from pruneguard.runtime import onnx_components


def status(entry: str) -> int:
    """A size in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{entry}:"))


if __name__ == "__main__":
    rows, side = int(sys.argv[2]), int(sys.argv[3])
    parts = onnx_components(Path(sys.argv[1]), threads=1)
    states = parts.text_encoder.run({"input_ids": np.zeros((rows, parts.sampler.text_tokens), np.int64)})
    for size in (8, side):  # the first call of a session also prepares it
        latents = np.zeros((rows, parts.sampler.latent_channels, size, size), np.float32)
        timesteps = np.zeros(rows, np.float32)
        text = states["last_hidden_state"]
        for engine, inputs in (
            (parts.unet, {"sample": latents, "timestep": timesteps, "encoder_hidden_states": text}),
            (parts.vae_decoder, {"latent_sample": latents}),
        ):
            ctypes.CDLL(None).malloc_trim(0)
            before = status("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present size
            engine.run(inputs)
            if size == side:
                print(status("VmHWM") - before)
