"""A family, a detector, a metric and a data source that a test registers: one definition each, used for real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pruneguard.bundle import Bundle, Policy, Stage, write_bundle
from pruneguard.cli import run
from pruneguard.concepts import Concept
from pruneguard.data.cache import CacheSettings, build_latent_set
from pruneguard.data.latents import LatentSet
from pruneguard.data.source import SOURCES
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.detectors.detector import DETECTORS, Images
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts
from pruneguard.export import sampler_settings
from pruneguard.families import FAMILIES, Family, find_family
from pruneguard.measurement import Measurement
from pruneguard.models import Pipeline
from pruneguard.registry import NoSettings
from pruneguard.runs.progress import OnProgress, silent
from pruneguard.settings import Choice
from pruneguard.stages.data import build_data
from pruneguard.stages.settings import RunSettings
from pruneguard.training.settings import TrainSettings

FOG = Concept(name="fog", prompts=("fog",), anchors=("a field",), neighbours=("rain", "snow"), terms=("fog",))
RAIN = Concept(name="rain", prompts=("rain",), anchors=("a field",), terms=("rain",), detector="never")


@dataclass
class Always:
    """A detector that sees a concept in every picture, or in none."""

    name: str
    answer: bool

    def check(self, concept: Concept) -> None:
        return None

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        return np.full(len(images), self.answer)


def toy_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts:
    return concept_prompts(concept, target=settings.target, other=settings.other)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Settings of the toy data source."""

    level: float
    size: int = 2


def constant_latents(
    settings: Constants, pipeline: Pipeline, *, seed: int, cache: CacheSettings, on_progress: OnProgress
) -> LatentSet:
    """Latents that all have the level and the seed as their value."""
    value = settings.level + seed
    return build_latent_set(
        pipeline,
        lambda: iter([torch.full((settings.size, 4, 16, 16), value)]),
        image_count=settings.size,
        image_of=range(settings.size),
        captions=["a field"] * settings.size,
        made_from=asdict(settings),
        cache=cache,
        on_progress=on_progress,
    )


@pytest.fixture
def toys() -> Iterator[None]:
    """One entry in each registry."""

    @DETECTORS.register("always")
    def always(settings: NoSettings) -> Always:
        return Always("always", True)

    @DETECTORS.register("never")
    def never(settings: NoSettings) -> Always:
        return Always("never", False)

    @METRICS.register("contrast")
    def contrast(settings: NoSettings) -> Any:
        def measure(pictures: AuditPictures) -> list[Measurement]:
            return [Measurement(name="contrast/other", value=0.125, count=len(pictures.other))]

        return measure

    SOURCES.register("constant", settings=Constants)(constant_latents)

    @FAMILIES.register("toy")
    def toy() -> Family:
        return Family(
            name="toy",
            claims=lambda model: model == "toy",
            preset=TrainSettings(steps=3, schedule=Choice("alternating", {"every": 1}), seed=1),
            concept_names=("fog", "rain"),
            concept=lambda name: {"fog": FOG, "rain": RAIN}[name],
            audit_prompts=toy_prompts,
            data="constant",
            detector=lambda concept: "always",
            metrics=("contrast",),
        )

    yield
    for registry, names in ((DETECTORS, ("always", "never")), (METRICS, ("contrast",)), (FAMILIES, ("toy",))):
        for name in names:
            registry.remove(name)
    SOURCES.remove("constant")


def black(components: Any, prompts: Any, *given: Any, **options: Any) -> Images:
    """Black pictures in place of drawn ones."""
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)


def write_toy_bundle(path: Path, pipeline: Pipeline, concepts: tuple[Concept, ...]) -> None:
    with write_bundle(path) as draft:
        pipeline.save(draft.folder / "model")
        draft.add_stage(Stage(name="prune"))
        draft.update(
            sampler=sampler_settings(pipeline),
            concepts={concept.name: asdict(concept) for concept in concepts},
            policy=Policy([concept.name for concept in concepts], 0.5),
            family="toy",
        )


def test_an_audit_asks_each_concepts_detector_and_shows_the_familys_metric(
    toys: None, tiny_pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    write_toy_bundle(tmp_path / "bundle", tiny_pipeline, (FOG, RAIN))
    pictures = ("--target", "64", "--other", "2")
    monkeypatch.setattr(
        "pruneguard.evaluation.audit.draw", lambda *given, **_: np.zeros((len(given[1]), 8, 8, 3), np.uint8)
    )
    assert run(["audit", "--bundle", str(tmp_path / "bundle"), *pictures]) == 1
    shown = capsys.readouterr()
    rows = {line.split()[1]: line for line in shown.out.splitlines() if line.count("│") >= 3}
    assert "100.0% (at most 100.0%)" in rows["fog"]
    assert "0.0% (at most 4.6%)" in rows["rain"]
    assert "contrast other" in shown.out
    assert rows["fog"].count("0.125") == rows["rain"].count("0.125") == 1
    assert "fog: drawn too often" in shown.err
    audits = {audit.concept: audit for audit in Bundle.open(tmp_path / "bundle").manifest.audits}
    assert {name: (audit.drawn.protocol.detector, audit.passed) for name, audit in audits.items()} == {
        "fog": ("always", False),
        "rain": ("never", True),
    }


def test_one_detector_can_be_chosen_for_all_concepts(toys: None, tiny_pipeline: Pipeline, tmp_path: Path) -> None:
    write_toy_bundle(tmp_path / "bundle", tiny_pipeline, (FOG, RAIN))
    options = ("--target", "1", "--other", "1", "--detector", "always")
    assert run(["audit", "--bundle", str(tmp_path / "bundle"), *options]) == 1
    audits = Bundle.open(tmp_path / "bundle").manifest.audits
    assert {audit.drawn.protocol.detector for audit in audits} == {"always"}
    assert not any(audit.passed for audit in audits)


def test_a_model_of_the_family_has_its_preset_its_concepts_and_its_data(
    toys: None, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    tables = {"data": {"source": {"name": "constant", "level": 2.0}, "size": 5}}
    settings = RunSettings.resolve("toy", tables, concepts=("fog",))
    assert settings.training == find_family("toy").preset
    assert settings.load_concepts() == (FOG,)
    data = build_data(tiny_pipeline, settings, tmp_path, silent)
    assert set(data.latents(range(5)).flatten().tolist()) == {3.0}


def test_settings_add_a_metric_to_those_of_any_family(toys: None) -> None:
    settings = RunSettings.resolve("atelier", {"audit": {"metrics": ["contrast"]}})
    assert settings.audit.metrics == ("contrast",)
