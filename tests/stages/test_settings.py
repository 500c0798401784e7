"""What a run is asked to do: presets, a configuration file and options, in this order, each checked when it is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pruneguard.cli.options import read_settings
from pruneguard.errors import ConfigError
from pruneguard.families import DEFAULT, find_family
from pruneguard.settings import Choice
from pruneguard.stages.data import chosen_source
from pruneguard.stages.settings import DataSettings, PruneSettings, RunSettings, read_tables


def test_each_family_has_its_preset() -> None:
    small, large = RunSettings.resolve("atelier", {}), RunSettings.resolve("owner/model", {})
    assert (small.family.name, small.training) == ("atelier", find_family("atelier").preset)
    assert (large.family.name, large.training) == (DEFAULT, find_family(DEFAULT).preset)
    assert (large.training.steps, large.training.schedule.options["every"], large.training.batch_size) == (
        20_000,
        20,
        64,
    )
    assert (large.training.lower.lr, large.training.upper.lr, large.training.lower.warmup) == (1e-6, 5e-6, 250)
    assert small.prune == large.prune == PruneSettings(budget=0.58, criterion="taylor", batches=16)


def test_a_table_changes_what_it_names_and_nothing_else() -> None:
    tables = {"training": {"steps": 7, "lower": {"lr": 1}}, "prune": {"budget": 0.5}, "audit": {"limit": 0}}
    settings = RunSettings.resolve("atelier", tables)
    assert (settings.training.steps, settings.training.lower.lr) == (7, 1.0)
    assert settings.training.lower.warmup == find_family("atelier").preset.lower.warmup
    assert (settings.prune.budget, settings.prune.criterion) == (0.5, "taylor")
    assert settings.audit.limit == 0.0


def test_options_win_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(
        'model = "owner/model"\nconcepts = ["monet"]\ndetector = "clip:owner/clip"\n'
        "[training]\nsteps = 7\nseed = 1\n[prune]\nbudget = 0.5\n"
    )
    options = {"steps": 9, "budget": None, "criterion": "magnitude", "data": "coco", "seed": None, "concepts": ()}
    settings = read_settings(config, options)
    assert (settings.model, settings.concepts, settings.detector) == ("owner/model", ("monet",), "clip:owner/clip")
    assert (settings.training.steps, settings.training.seed) == (9, 1)
    assert (settings.prune.budget, settings.prune.criterion) == (0.5, "magnitude")
    assert settings.data.source == Choice("coco")
    others = {"model": "atelier", "concepts": ("mosaic",), "detector": "oracle"}
    settings = read_settings(config, others)
    assert (settings.model, settings.concepts, settings.detector) == ("atelier", ("mosaic",), "oracle")
    assert settings.training.batch_size == find_family("atelier").preset.batch_size


@pytest.mark.parametrize("model", ["atelier", "owner/model"])
def test_settings_written_as_a_file_ask_for_the_same(model: str, tmp_path: Path) -> None:
    tables = {"training": {"steps": 7, "lower": {"lr": 1e-7}}, "data": {"captions": 'a "b"\\c.txt'}}
    settings = RunSettings.resolve(model, tables, concepts=("nudity",), student="pruned")
    (tmp_path / "all.toml").write_text(settings.to_toml())
    assert read_settings(tmp_path / "all.toml", {}) == settings


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"prunes": {}}, r"configuration: unknown setting 'prunes': did you mean 'prune'\?"),
        ({"training": 1}, r"'training' is 1; it must be a table, \[training\]"),
        ({"training": {"lower": 1}}, r"it must be a table, \[training\.lower\]"),
        ({"concepts": "mosaic"}, "`concepts`: Expected `array`, got `str`"),
        ({"concepts": ["mosaic", 3]}, "`concepts.*`: Expected `str`, got `int`"),
        ({"student": 3}, "`student`: Expected `str . null`, got `int`"),
        ({"prune": {"buget": 0.5}}, "prune: unknown setting 'buget': did you mean 'budget'"),
        ({"prune": {"budget": 0}}, "`budget` is 0.0; it must be above 0 and at most 1"),
        ({"prune": {"budget": 1.2}}, "`budget` is 1.2"),
        ({"prune": {"batches": 0}}, "`batches` is 0; it must be at least 1"),
        ({"prune": {"criterion": "best"}}, "unknown criterion 'best': choose from magnitude, taylor"),
        ({"data": {"size": 0}}, "`size` is 0; it must be at least 1"),
        ({"data": {"cache_mib": 0}}, "`cache_mib` is 0; it must be at least 1"),
        ({"data": {"captions": 3}}, "data: `captions`: Expected `str . null`, got `int`"),
        ({"audit": {"target": 0}}, "at least one target picture"),
        ({"training": {"steps": True}}, "training: `steps`: Expected `int`, got `bool`"),
        ({"audit": {"metrics": ["keep"]}}, "unknown metric 'keep': did you mean 'kept'"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(tables: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        RunSettings.resolve("atelier", tables)


def test_a_configuration_that_cannot_be_read_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read \(No such file or directory\); give the path"):
        read_tables(tmp_path / "none.toml")
    (tmp_path / "half.toml").write_text("[training")
    with pytest.raises(ConfigError, match=r"half\.toml is not valid TOML"):
        read_tables(tmp_path / "half.toml")
    (tmp_path / "typo.toml").write_text("[prune]\nbuget = 0.5")
    with pytest.raises(ConfigError, match=r"--config .*typo\.toml: prune: unknown setting 'buget'"):
        read_settings(tmp_path / "typo.toml", {})
    with pytest.raises(ConfigError, match=r"^prune: `budget` is 2"):
        read_settings(None, {"budget": 2.0})
    assert read_tables(None) == {}


def test_settings_are_frozen_and_json() -> None:
    settings = RunSettings.resolve("atelier", {}, concepts=("hatching",), detector="oracle")
    plain = json.loads(json.dumps(settings.to_dict()))
    assert (plain["concepts"], plain["prune"]["budget"]) == (["hatching"], 0.58)
    assert plain["training"]["erasure"]["eraser"] == {"name": settings.training.erasure.eraser.name}
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.model = "other"  # type: ignore[misc]


def test_concepts_are_those_of_the_models_family() -> None:
    assert RunSettings(concepts=("hatching", "nudity")).load_concepts()[1].detect == {
        "attribute": "dress",
        "value": "bare",
    }
    assert RunSettings(model="owner/model", concepts=("van-gogh",)).load_concepts()[0].name == "van-gogh"
    with pytest.raises(ConfigError, match="no concept 'hatching' for stable-diffusion models"):
        RunSettings(model="owner/model", concepts=("hatching",)).load_concepts()


@pytest.mark.parametrize(
    ("table", "chosen"),
    [
        ({}, Choice("atelier")),
        ({"source": "coco"}, Choice("coco")),
        ({"source": {"name": "synthetic", "steps": 5}}, Choice("synthetic", {"steps": 5})),
    ],
)
def test_the_data_source_is_the_named_one_or_the_familys(table: dict[str, Any], chosen: Choice) -> None:
    settings = RunSettings.resolve("atelier", {"data": table})
    assert chosen_source(settings.data, settings.family) == chosen


def test_a_folder_is_a_source_and_anything_else_is_refused(tmp_path: Path) -> None:
    family = find_family(DEFAULT)
    folder = DataSettings(source=Choice(str(tmp_path)))
    assert chosen_source(folder, family) == Choice("images", {"folder": str(tmp_path)})
    with pytest.raises(ConfigError, match="--data cocoa is neither a folder nor a data source: did you mean 'coco'"):
        chosen_source(DataSettings(source=Choice("cocoa")), family)
    with pytest.raises(ConfigError, match="--data is missing"):
        chosen_source(DataSettings(), family)
