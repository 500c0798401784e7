from __future__ import annotations

import copy
from pathlib import Path

import pytest

from pruneguard.errors import ConfigError
from pruneguard.families.atelier.data import from_atelier
from pruneguard.models import Pipeline
from pruneguard.training import TrainSettings, train, trainer


def test_tensorboard_is_written_when_installed(tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    settings = TrainSettings.from_dict({"steps": 2, "batch_size": 2, "lower": {"lr": 1e-3}})
    data = from_atelier(tiny_pipeline, 2, seed=0)
    train(tiny_pipeline, copy.deepcopy(tiny_pipeline.unet), data, [], settings, tmp_path)
    (events,) = tmp_path.glob("logs/train/events.*")
    assert b"lower/loss" in events.read_bytes()


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert trainer._tracker(TrainSettings()) is None
    with pytest.raises(ConfigError, match="'tensorboard', which is not installed"):
        trainer._tracker(TrainSettings(tracker="tensorboard"))
