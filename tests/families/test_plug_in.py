"""A family, a detector, a metric and a data source that a test registers: one definition each, used for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
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
from pruneguard.runtime import Components, torch_components
from pruneguard.settings import Choice
from pruneguard.stages.data import build_data
from pruneguard.stages.settings import RunSettings
from pruneguard.training.settings import TrainSettings

FOG = Concept(
    name="fog",
    prompts=("fog",),
    anchors=("a field",),
    neighbours=("rain", "snow"),
    audit_prompts=tuple(f"fog over {number} fields" for number in range(8)),
    terms=("fog",),
)


@dataclass
class Eye:
    """A detector that sees a concept in pictures that are brighter than a level."""

    name: str
    level: float

    def check(self, concept: Concept) -> None:
        return None

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = images.mean((1, 2, 3)) > self.level
        return found


def build_eye(name: str, level: float, settings: NoSettings) -> Eye:
    return Eye(name, level)


def toy_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts:
    return concept_prompts(concept, target=settings.target, other=settings.other, implicit=settings.implicit)


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

    for name, level in (("sharp", 100.0), ("always", -1.0), ("never", 255.0)):
        DETECTORS.register(name)(partial(build_eye, name, level))

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
            concept_names=("fog",),
            concept=lambda name: {"fog": FOG}[name],
            audit_prompts=toy_prompts,
            data="constant",
            detector=lambda concept: "sharp",
            metrics=("contrast",),
        )

    yield
    for registry, names in ((DETECTORS, ("sharp", "always", "never")), (METRICS, ("contrast",)), (FAMILIES, ("toy",))):
        for name in names:
            registry.remove(name)
    SOURCES.remove("constant")


class Teacher(Components):
    """Components that `draws` tells from those of a model."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> Teacher:
        made = torch_components(pipeline)
        return cls(**{entry.name: getattr(made, entry.name) for entry in fields(made)})


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that suppresses fog; its teacher draws bright pictures of fog, and its model draws `model_draws`."""
    path = tmp_path / "bundle"
    tiny_pipeline.save(tmp_path / "teacher")
    with write_bundle(path) as draft:
        tiny_pipeline.save(draft.folder / "model")
        draft.add_stage(Stage(name="prune", settings={"model": str(tmp_path / "teacher")}))
        draft.update(
            sampler=sampler_settings(tiny_pipeline),
            concepts={"fog": asdict(FOG)},
            policy=Policy(["fog"], 0.05),
            family="toy",
        )
    monkeypatch.setattr("pruneguard.stages.control.torch_components", Teacher.of)
    monkeypatch.setenv("COLUMNS", "140")
    return path


def draws(level: int) -> Callable[..., Images]:
    """Stands in for drawing: the teacher's fog is white, the model's has `level`, and all else is black."""

    def draw(components: Any, prompts: Sequence[str], *given: Any, **options: Any) -> Images:
        fog = 255 if isinstance(components, Teacher) else level
        levels = np.array([fog if "fog" in prompt else 0 for prompt in prompts], np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(prompts), 8, 8, 3)).copy()

    return draw


def audited(bundle: Path, *options: str) -> int:
    return run(["audit", "--bundle", str(bundle), "--target", "64", "--other", "2", *options])


def test_an_audit_asks_the_familys_detector_and_shows_its_metric_beside_the_teacher(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle) == 0
    said = capsys.readouterr().out
    assert "over 25 steps, guidance 7.5" in " ".join(said.split())
    row, control = (line for line in said.splitlines() if "fog" in line and line.count("│") >= 3)
    assert "0.0% (at most 4.6%)" in row
    assert "0.125" in row
    assert "fog, teacher" in control
    assert "100.0% (at most 100.0%)" in control
    (audit,) = Bundle.open(bundle).manifest.audits
    assert (audit.drawn.protocol.detector, audit.passed, audit.judgement()) == ("sharp", True, ("passed", ""))
    assert [(entry.name, entry.value, entry.protocol.subject) for entry in audit.control] == [
        ("drawn", 1.0, "teacher"),
        ("drawn/elsewhere", 0.0, "teacher"),
        ("contrast/other", 0.125, "teacher"),
    ]
    Bundle.open(bundle).require_audits("model")


def test_a_model_that_still_draws_the_concept_fails(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(255))
    assert audited(bundle) == 1
    assert "audit failed: fog: 100.0% (at most 100.0%) drawn, limit 5.0%" in capsys.readouterr().err
    assert not any(audit.passed for audit in Bundle.open(bundle).manifest.audits)


@pytest.mark.parametrize(
    ("detector", "reason"),
    [
        ("never", "sees the concept in 0.0% of the teacher's own pictures of the same prompts; at least 50.0%"),
        ("always", "sees the concept in 100.0% of the teacher's pictures of other prompts; at most 20.0%"),
    ],
)
def test_a_detector_that_cannot_tell_the_concept_makes_no_audit(
    toys: None,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    detector: str,
    reason: str,
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle, "--detector", detector) == 1
    said = capsys.readouterr().err
    assert f"an audit of 'fog' would show nothing: its detector {reason}" in " ".join(said.split())
    assert said.strip().endswith("[audit_invalid]")
    assert Bundle.open(bundle).manifest.audits == []


def test_a_control_on_record_serves_the_next_audit_and_a_new_one_needs_the_teacher(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle) == 0
    teacher = bundle.parent / "teacher"
    teacher.rename(bundle.parent / "elsewhere")
    assert audited(bundle) == 0
    capsys.readouterr()
    assert audited(bundle, "--target", "72") == 1
    said = capsys.readouterr().err
    assert "this audit needs a control by the teacher, which cannot be loaded" in said
    assert "give --teacher" in said
    assert audited(bundle, "--target", "72", "--teacher", str(bundle.parent / "elsewhere")) == 0
    (audit,) = Bundle.open(bundle).manifest.audits
    assert (audit.drawn.count, audit.control[0].count) == (72, 72)


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
