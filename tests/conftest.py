"""Fixtures that all tests share: the tiny pipeline, in memory and as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruneguard.models import Pipeline
from tests.models import build_tiny_pipeline


@pytest.fixture
def tiny_pipeline() -> Pipeline:
    return build_tiny_pipeline()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline as a diffusers folder, for reading only."""
    folder = tmp_path_factory.mktemp("tiny") / "pipeline"
    build_tiny_pipeline().save(folder)
    return folder
