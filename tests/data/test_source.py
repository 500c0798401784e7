"""Data sources by name, and how the options of a run reach them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pruneguard.data.coco import CocoSettings
from pruneguard.data.source import SOURCES, source_settings
from pruneguard.data.synthetic import SyntheticSettings
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline
from pruneguard.runs.progress import silent
from pruneguard.settings import Choice
from pruneguard.stages.data import build_data
from pruneguard.stages.settings import RunSettings

COMMON = {"captions": "captions.json", "images": None, "size": 7}


def test_a_source_takes_the_common_values_that_it_knows_and_its_own_options() -> None:
    drawn = source_settings(Choice("synthetic", {"steps": 5}), COMMON)
    assert drawn == SyntheticSettings(captions="captions.json", size=7, steps=5)
    chosen = source_settings(Choice("coco", {"images": "pictures"}), COMMON)
    assert chosen == CocoSettings(captions="captions.json", images="pictures")
    assert source_settings(Choice("synthetic", {"size": 3}), COMMON).size == 3


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (Choice("cocoa"), "unknown data source 'cocoa': did you mean 'coco'"),
        (Choice("coco"), "--data coco needs --captions ANNOTATIONS.json and --images FOLDER"),
        (Choice("synthetic", {"step": 5}), "data source 'synthetic': unknown setting 'step': did you mean 'steps'"),
        (Choice("images"), "data source 'images': .*`folder`"),
    ],
)
def test_what_a_source_cannot_use_is_refused(choice: Choice, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        source_settings(choice, COMMON)


def test_synthetic_needs_a_caption_file_that_can_be_read(tmp_path: Path, tiny_pipeline: Pipeline) -> None:
    with pytest.raises(ConfigError, match="--data synthetic needs --captions FILE"):
        source_settings(Choice("synthetic"), {})
    settings = RunSettings.resolve("x/y", {"data": {"source": "synthetic", "captions": str(tmp_path / "none.txt")}})
    with pytest.raises(ConfigError, match=r"--captions .*none\.txt cannot be read"):
        build_data(tiny_pipeline, settings, tmp_path, silent)


def test_a_run_draws_the_captions_of_a_file_with_the_steps_that_it_chose(
    tmp_path: Path, tiny_pipeline: Pipeline
) -> None:
    (tmp_path / "captions.txt").write_text("a red disc\n\na girl\n  a blue ring  \n")
    data = {"source": {"name": "synthetic", "steps": 1}, "captions": str(tmp_path / "captions.txt"), "size": 2}
    one = build_data(tiny_pipeline, RunSettings.resolve("x/y", {"data": data}), tmp_path / "cache", silent)
    assert one.captions == ("a red disc", "a blue ring")
    data["source"] = {"name": "synthetic", "steps": 2}
    two = build_data(tiny_pipeline, RunSettings.resolve("x/y", {"data": data}), tmp_path / "cache", silent)
    assert not torch.equal(one.latents([0]), two.latents([0]))


def test_the_sources_of_the_package_are_found_by_name() -> None:
    assert {"coco", "images", "synthetic"} <= set(SOURCES.names())
