from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.processes import run_script


def test_processes_begin_alike_and_average_the_gradients_of_unet_and_text_encoder(tmp_path: Path) -> None:
    run_script("tests.training.average_gradients", tmp_path)
    alone, *together = (load_file(tmp_path / f"{name}.safetensors") for name in ("alone-0", "together-0", "together-1"))
    assert {name.partition(".")[0] for name in alone} == {"unet", "text_encoder", "lower/loss", "upper/loss"}
    for theirs in together:
        assert theirs.keys() == alone.keys()
        for name, tensor in alone.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-6)
    assert alone["text_encoder.encoder.layers.0.mlp.fc1.weight"].abs().max().item() > 1e-6
