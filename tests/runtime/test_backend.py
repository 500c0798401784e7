"""Backends plug in by their name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import PrivateCopy
from pruneguard.errors import ConfigError
from pruneguard.runtime import Engine, draw
from pruneguard.runtime.engines.backend import BACKENDS, EngineOptions, open_components
from tests.runtime.engines import Function, decode, encode, predict
from tests.runtime.tiny_bundle import tiny_settings, write_tokenizer

FUNCTIONS: dict[str, Callable[..., Any]] = {"text_encoder": encode, "unet": predict, "vae_decoder": decode}


class Toy:
    """A backend whose files are JSON that names the output."""

    def usable(self, options: EngineOptions) -> str | None:
        return None if options.provider == "cpu" else f"the toy runs on no {options.provider}; use provider 'cpu'"

    def open(self, files: PrivateCopy, component: str, options: EngineOptions) -> Engine:
        return Function(FUNCTIONS[component], files.read_json("toy.json")["output"])


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    write_tokenizer(tmp_path / "tokenizer")
    outputs = {"text_encoder": "last_hidden_state", "unet": "out_sample", "vae_decoder": "sample"}
    for component, output in outputs.items():
        (tmp_path / component).mkdir()
        (tmp_path / component / "toy.json").write_text(json.dumps({"output": output}))
    BACKENDS.register("toy")(Toy)
    yield tmp_path
    BACKENDS.remove("toy")


def test_a_registered_backend_draws(toy: Path) -> None:
    components = open_components(toy, tiny_settings(), backend="toy")
    image = draw(components, ["red"], [1], steps=3)
    assert image.shape == (1, 16, 16, 3) and image.std() > 10


def test_a_backend_that_cannot_run_here_says_why(toy: Path) -> None:
    with pytest.raises(ConfigError, match="the toy runs on no cuda; use provider 'cpu'"):
        open_components(toy, tiny_settings(), backend="toy", options=EngineOptions(provider="cuda"))
    with pytest.raises(ConfigError, match="unknown engine backend 'tois'"):
        open_components(toy, tiny_settings(), backend="tois")


def test_onnx_runtime_is_a_backend() -> None:
    assert "onnxruntime" in BACKENDS.names()
    backend = BACKENDS.find("onnxruntime").build()
    assert backend.usable(EngineOptions()) is None
    assert backend.usable(EngineOptions(provider="tpu")) == "provider must be cpu or cuda, not 'tpu'"
