"""Fixtures of the runtime's tests: a tiny audited bundle, and engines that are plain functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from pruneguard.bundle import Bundle, BundleDraft, write_bundle
from pruneguard.runtime import Components
from tests.runtime.engines import Function, decode, encode, letters, predict
from tests.runtime.tiny_bundle import add_audit, fill_draft, tiny_settings


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a tiny audited bundle; `unet` replaces its UNet, `change` is called with the draft."""

    def make(unet: onnx.ModelProto | None = None, change: Callable[[BundleDraft], None] | None = None) -> Path:
        path = tmp_path / "bundle"
        with write_bundle(path) as draft:
            fill_draft(draft, unet)
            (change or add_audit)(draft)
        Bundle.open(path).verify()
        return path

    return make


@pytest.fixture
def tiny_bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle()


@pytest.fixture
def parts() -> Components:
    """Engines that are plain functions, with the tiny bundle's sampler settings."""
    return Components(
        text_encoder=Function(encode, "last_hidden_state"),
        unet=Function(predict, "out_sample"),
        vae_decoder=Function(decode, "sample"),
        tokenizer=letters,
        sampler=tiny_settings(),
    )
