"""A family, a detector, a metric and a data source that a test registers: one definition each, used for real."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pruneguard.bundle import Bundle, Policy, Space, Stage, write_bundle
from pruneguard.cli import run
from pruneguard.concepts import Concept
from pruneguard.data.cache import CacheSettings, build_latent_set
from pruneguard.data.latents import LatentSet
from pruneguard.data.source import SOURCES
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.detectors.detector import DETECTORS, Images, build_detector
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts
from pruneguard.evaluation.space import SpaceSettings
from pruneguard.export import sampler_settings
from pruneguard.families import FAMILIES, Family, find_family
from pruneguard.measurement import Measurement
from pruneguard.models import Pipeline
from pruneguard.registry import NoSettings
from pruneguard.runs.progress import OnProgress, silent
from pruneguard.runtime import Components, torch_components
from pruneguard.settings import Choice, plain
from pruneguard.stages.auditing.control import draw_controls
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
DAWN = replace(FOG, audit_implicit_prompts=tuple(f"dawn over {number} fields" for number in range(8)))
"""The like, with prompts under which a model draws fog although they do not name it."""
WIDE = SpaceSettings(steps=(2, 50), negative_prompts=("blurry",))


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
            concept=lambda name, beside: {"fog": FOG}[name],
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
    monkeypatch.setattr("pruneguard.stages.auditing.control.torch_components", Teacher.of)
    monkeypatch.setenv("COLUMNS", "140")
    return path


def draws(level: int, unnamed: int = 0) -> Callable[..., Images]:
    """Stands in for drawing: the teacher's fog is white, the model's has `level`, and all else is black.

    At dawn the teacher draws fog too, and the model draws `unnamed`.
    """

    def draw(components: Any, prompts: Sequence[str], *given: Any, **options: Any) -> Images:
        fog, dawn = (255, 255) if isinstance(components, Teacher) else (level, unnamed)
        levels = np.array([fog if "fog" in prompt else dawn if "dawn" in prompt else 0 for prompt in prompts], np.uint8)
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
    (drawn,) = (line for line in said.splitlines() if line.startswith("│ drawn  "))
    assert re.split(r"\s*│\s*", drawn)[1:4] == ["drawn", "0.0% (at most 4.6%)", "100.0% (at most 100.0%)"]
    assert "fog, teacher" in said
    assert "0.125" in said
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


def trained(bundle: Path, audit: AuditSettings, concept: Concept = FOG) -> None:
    """Writes a training stage with these audit settings, and the concept, into the bundle."""
    with write_bundle(bundle, base=bundle) as draft:
        draft.add_stage(Stage(name="train", settings=plain({"audit": audit})))
        draft.update(concepts={"fog": asdict(concept)})


def test_an_audit_fails_if_the_model_draws_the_concept_where_no_prompt_names_it(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(bundle, AuditSettings(), DAWN)
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0, unnamed=255))
    assert audited(bundle) == 1
    reason = "audit failed: fog: 100.0% (at most 100.0%) drawn by prompts that do not name it, limit 5.0%"
    assert reason in capsys.readouterr().err
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle) == 0
    (audit,) = Bundle.open(bundle).manifest.audits
    rates = {entry.name: (entry.value, entry.count) for entry in audit.measurements}
    control = {entry.name: (entry.value, entry.count) for entry in audit.control}
    assert (rates["drawn/implicit"], control["drawn/implicit"]) == ((0.0, 64), (1.0, 64))
    assert run(["verify", "--bundle", str(bundle)]) == 0
    assert "implicit" in capsys.readouterr().out


def test_the_space_of_the_training_stages_audit_is_drawn_recorded_and_shown(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = AuditSettings(space=WIDE)
    trained(bundle, wide)
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "over 2 to 50 steps, guidance 7.5, 1 negative prompt" in shown
    (audit,) = Bundle.open(bundle).manifest.audits
    assert audit.space == wide.covered == Space(steps=(2, 50), guidance_scale=(7.5, 7.5), negative_prompts=("blurry",))
    for drawn in (audit.drawn, audit.control[0]):
        assert drawn.protocol.settings["space"] == plain(wide.covered)
        ran = {"precision": "fp32", "backend": "torch", "provider": "cpu"}
        assert ran.items() <= drawn.protocol.settings.items()
    assert audit.judgement() == ("passed", "")


def test_a_control_of_another_space_is_drawn_anew(
    toys: None, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    assert audited(bundle) == 0
    trained(bundle, AuditSettings(space=WIDE))
    (bundle.parent / "teacher").rename(bundle.parent / "elsewhere")
    assert audited(bundle) == 1
    assert "this audit needs a control by the teacher, which cannot be loaded" in capsys.readouterr().err
    assert audited(bundle, "--teacher", str(bundle.parent / "elsewhere")) == 0
    (audit,) = Bundle.open(bundle).manifest.audits
    assert audit.space == AuditSettings(space=WIDE).covered


def test_kept_controls_are_those_of_the_same_space_and_prompts(
    toys: None, tiny_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def draw(*given: Any, **options: Any) -> Images:
        calls.append(options)
        return draws(0)(*given, **options)

    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draw)
    monkeypatch.setattr("pruneguard.stages.auditing.control.torch_components", Teacher.of)
    family, eyes = find_family("toy"), {"fog": build_detector("sharp")}

    def drawn_anew(settings: AuditSettings, concept: Concept = FOG) -> bool:
        calls.clear()
        draw_controls(tiny_pipeline, [concept], family, eyes, settings, silent, folder=tmp_path)
        return bool(calls)

    point, wide = AuditSettings(other=2), AuditSettings(other=2, space=WIDE)
    assert [drawn_anew(settings) for settings in (point, point, wide, wide, point)] == [True, False, True, False, False]
    assert [drawn_anew(point, DAWN), drawn_anew(point, DAWN)] == [True, False]


def test_a_model_of_the_family_has_its_preset_its_concepts_and_its_data(
    toys: None, tiny_pipeline: Pipeline, tmp_path: Path
) -> None:
    tables = {"data": {"source": {"name": "constant", "level": 2.0}, "size": 5}}
    settings = RunSettings.resolve("toy", tables, concepts=("fog",))
    assert settings.training == find_family("toy").preset
    assert settings.audit == find_family("toy").audit == AuditSettings()
    assert settings.load_concepts() == (FOG,)
    data = build_data(tiny_pipeline, settings, tmp_path, silent)
    assert set(data.latents(range(5)).flatten().tolist()) == {3.0}


def test_settings_add_a_metric_to_those_of_any_family(toys: None) -> None:
    settings = RunSettings.resolve("atelier", {"audit": {"metrics": ["contrast"]}})
    assert settings.audit.metrics == ("contrast",)
