"""Calibrations of detectors that give scores: drawn by the teacher, kept in controls, and taken from the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.bundle import Bundle, Policy, Stage, write_bundle
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, InvalidAuditError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.bounds import upper_bound
from pruneguard.evaluation.calibration import Calibration, carried_bound, read_calibration
from pruneguard.evaluation.detectors.detector import Images
from pruneguard.export import sampler_settings
from pruneguard.families import Family, find_family
from pruneguard.measurement import Measurement, Protocol, find
from pruneguard.models import Pipeline
from pruneguard.runs.progress import Advance, silent
from pruneguard.runtime import Components, torch_components
from pruneguard.settings import plain
from pruneguard.stages.audit import audit_bundle
from pruneguard.stages.auditing.calibration import SEEDS, calibrated, check_reach, measure_calibration, spread_prompts
from pruneguard.stages.auditing.control import draw_controls

FOG = Concept(
    name="fog",
    prompts=("fog", "thick fog", "fog at dawn", "a bank of fog", "fog in a wood"),
    anchors=("a field", "a meadow", "dawn", "a bank", "a wood"),
    neighbours=("rain", "snow"),
    audit_prompts=tuple(f"fog over {number} fields" for number in range(8)),
    terms=("fog",),
)
SETTINGS = AuditSettings(target=96, other=8, calibration=20, batch_size=8)
MISSED = "a bank of fog"


class Gauge:
    """Scores a picture by its mean brightness."""

    name = "gauge"

    def check(self, concept: Concept) -> None:
        pass

    def score(self, images: Images, concept: Concept) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = images.mean((1, 2, 3))
        return scores


class Teacher(Components):
    """Components that `draws` tells from those of a model."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> Teacher:
        made = torch_components(pipeline)
        return cls(**{entry.name: getattr(made, entry.name) for entry in fields(made)})


def draws(model: int, teacher: int = 200, dark: str = "") -> Callable[..., Images]:
    """Stands in for drawing: fog has the level of who draws it, and all else and the prompt `dark` are black."""

    def draw(components: Any, prompts: Sequence[str], *given: Any, **options: Any) -> Images:
        fog = teacher if isinstance(components, Teacher) else model
        levels = np.array([fog if "fog" in prompt and prompt != dark else 0 for prompt in prompts], np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(prompts), 8, 8, 3)).copy()

    return draw


@pytest.fixture
def family() -> Family:
    return replace(find_family("stable-diffusion"), metrics=())


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle that suppresses fog, looked at by the gauge; `teacher` beside it made it."""
    path = tmp_path / "bundle"
    tiny_pipeline.save(tmp_path / "teacher")
    with write_bundle(path) as draft:
        tiny_pipeline.save(draft.folder / "model")
        draft.add_stage(Stage(name="prune", settings={"model": str(tmp_path / "teacher")}))
        draft.add_stage(Stage(name="train", settings={"audit": plain(SETTINGS)}))
        draft.update(
            sampler=sampler_settings(tiny_pipeline),
            concepts={"fog": asdict(FOG)},
            policy=Policy(["fog"], 0.05),
            family=family.name,
        )
    monkeypatch.setattr("pruneguard.stages.auditing.control.torch_components", Teacher.of)
    monkeypatch.setattr("pruneguard.stages.audit.find_detectors", lambda *_: {"fog": Gauge()})
    return path


def audited(bundle: Path, settings: AuditSettings = SETTINGS) -> tuple[Measurement, Calibration]:
    """The rate that an audit records, and the calibration in its control."""
    (judged,) = audit_bundle(bundle, "model", "auto", settings, silent)
    found = read_calibration(judged.record.control)
    assert found is not None
    return judged.result.drawn, found


def drawn_controls(pipeline: Pipeline, family: Family, **changes: Any) -> dict[str, Sequence[Measurement]]:
    return draw_controls(pipeline, [FOG], family, {"fog": Gauge()}, SETTINGS, silent, **changes)


def test_the_teacher_draws_as_many_pictures_of_each_kind_from_seeds_of_their_own(
    tiny_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def draw(components: Any, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Images:
        asked.extend(zip(prompts, seeds, strict=True))
        assert (options["steps"], set(options["guidance_scale"])) == (25, {7.5})
        return draws(0)(components, prompts)

    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draw)
    seen: list[Advance] = []
    teacher = Teacher.of(tiny_pipeline)
    measured = measure_calibration("teacher", teacher, FOG, Gauge(), SETTINGS, seen.append)
    called, uncalled = asked[:20], asked[20:]
    assert [seed for _, seed in called] == list(range(1000 + SEEDS[0], 1020 + SEEDS[0]))
    assert [seed for _, seed in uncalled] == list(range(1000 + SEEDS[1], 1020 + SEEDS[1]))
    assert {prompt for prompt, _ in called} == set(FOG.prompts)
    assert {prompt for prompt, _ in uncalled} == {*FOG.anchors, *FOG.neighbours}
    assert read_calibration(measured) == Calibration(100.0, 0, 20, 0, 20)
    way = {"steps": 25, "guidance_scale": 7.5, "size": [8, 8], "prompts": 5, "other_prompts": 7, "folds": 5}
    assert all(entry.protocol == Protocol(subject="teacher", detector="gauge", settings=way) for entry in measured)
    assert (seen[-1].done, seen[-1].total) == (40, 40)


def test_prompts_are_spread_over_the_whole_list_and_equal_ones_stand_together() -> None:
    assert spread_prompts(["a", "b", "a", "c"], 6) == ["a", "a", "b", "b", "c", "c"]
    assert spread_prompts([str(number) for number in range(100)], 4) == ["0", "25", "50", "75"]
    with pytest.raises(ConfigError, match="give it neighbours"):
        spread_prompts([], 4)


def test_a_control_has_the_calibration_and_the_bound_of_the_subject_allows_for_misses(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0, dark=MISSED))
    drawn, found = audited(bundle, replace(SETTINGS, limit=0.2))
    # The teacher fails at one prompt of five, and each fold misses what it draws there.
    assert (found.missed, found.positives, found.false_alarms, found.negatives) == (4, 20, 0, 20)
    assert (drawn.value, drawn.high) == (0.0, carried_bound(0, 96, 4, 20))
    assert drawn.high is not None
    assert drawn.high > upper_bound(0, 96)
    assert drawn.interval == "95 % bound with the detector's misses"
    assert drawn.protocol.settings["threshold"] == found.threshold == 100.0
    (audit,) = Bundle.open(bundle).manifest.audits
    missed, alarms = find(audit.control, "calibration/missed"), find(audit.control, "calibration/false_alarms")
    assert missed is not None and alarms is not None
    assert (missed.value, missed.high, missed.interval) == (0.2, upper_bound(4, 20), "95 % bound")
    assert (alarms.value, alarms.high) == (0.0, upper_bound(0, 20))


def test_the_misses_decide_whether_an_audit_can_pass(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = replace(SETTINGS, calibration=64)
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    audited(bundle, long)
    Bundle.open(bundle).require_audits("model")
    # On 64 pictures the bound is 4.6 % without the misses, and 5.9 % with them.
    with pytest.raises(ConfigError, match=r"even none shown gives a bound of 5.9%.* ask for at least 77 target"):
        audited(bundle, replace(long, target=64))
    Bundle.open(bundle).require_audits("model")  # what was on record stays


def test_later_audits_of_a_bundle_use_the_threshold_on_record(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(60))
    first, found = audited(bundle)
    assert (found.threshold, first.value) == (100.0, 0.0)
    # With the same prompts neither control nor calibration is drawn again.
    (bundle.parent / "teacher").rename(bundle.parent / "elsewhere")
    assert audited(bundle) == (first, found)
    (bundle.parent / "elsewhere").rename(bundle.parent / "teacher")
    # A teacher that would give another threshold draws a new control, which is read with the one on record.
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(60, teacher=110))
    again, kept = audited(bundle, replace(SETTINGS, target=104))
    assert (again.count, again.value, kept) == (104, 0.0, found)


def test_a_detector_that_cannot_tell_the_teachers_pictures_is_an_error(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)

    def noise(components: Any, prompts: Sequence[str], *given: Any, **options: Any) -> Images:
        levels = rng.integers(0, 256, len(prompts)).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(prompts), 8, 8, 3)).copy()

    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", noise)
    floor = replace(SETTINGS, floor=0.0)  # so that only the calibration speaks
    with pytest.raises(InvalidAuditError, match=r"an audit of 'fog' would show nothing: .* a balanced accuracy of"):
        audit_bundle(bundle, "model", "auto", floor, silent)
    assert Bundle.open(bundle).manifest.audits == []


def test_a_run_keeps_its_calibration_with_the_control_and_draws_it_once(
    tiny_pipeline: Pipeline, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruneguard.stages.auditing.control.torch_components", Teacher.of)
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", draws(0))
    first = drawn_controls(tiny_pipeline, family, folder=tmp_path)
    monkeypatch.setattr("pruneguard.evaluation.drawing.draw", lambda *_, **__: pytest.fail("drawn again"))
    assert drawn_controls(tiny_pipeline, family, folder=tmp_path) == {"fog": list(first["fog"])}
    assert read_calibration(first["fog"]) == Calibration(100.0, 0, 20, 0, 20)


def test_a_scorer_decides_nothing_without_a_calibration() -> None:
    with pytest.raises(InvalidAuditError, match="'gauge' has no threshold for 'fog': its control has no calibration"):
        calibrated({"fog": Gauge()}, {"fog": ()})


def test_a_detector_with_a_threshold_of_its_own_stays_as_it_is() -> None:
    class Eye:
        name = "eye"

        def check(self, concept: Concept) -> None:
            pass

        def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
            return np.zeros(len(images), bool)

    eye = Eye()
    assert calibrated({"fog": eye}, {}) == {"fog": eye}


def test_training_says_before_it_begins_how_many_pictures_an_audit_needs() -> None:
    protocol = Protocol(detector="gauge")
    controls = {"fog": Calibration(0.0, 6, 64, 0, 64).measurements(((0, 63), (64, 127)), protocol)}
    check_reach(controls, replace(SETTINGS, target=91))
    message = (
        r"an audit of 'fog' with 64 target pictures cannot pass: its detector missed 6 of 64 calibration pictures, so "
        r"even none shown gives a bound of 6.9%, and the limit is 5.0%; ask for at least (\d+) target pictures"
    )
    with pytest.raises(ConfigError, match=message) as caught:
        check_reach(controls, replace(SETTINGS, target=64))
    least = int(str(caught.value).split()[-3])
    check_reach(controls, replace(SETTINGS, target=least))
    with pytest.raises(ConfigError, match="cannot pass"):
        check_reach(controls, replace(SETTINGS, target=least - 1))
    blind = {"fog": Calibration(0.0, 64, 64, 0, 64).measurements(((0, 63), (64, 127)), protocol)}
    with pytest.raises(ConfigError, match="choose another --detector"):
        check_reach(blind, SETTINGS)
    implicit = [*controls["fog"], Measurement(name="drawn/implicit", value=0.1)]
    with pytest.raises(
        ConfigError, match=r"with 64 implicit pictures cannot pass.* ask for at least \d+ implicit pictures"
    ):
        check_reach({"fog": implicit}, replace(SETTINGS, target=128, implicit=64))


def test_a_detector_with_a_threshold_of_its_own_needs_59_pictures_for_a_bound_of_5_per_cent() -> None:
    check_reach({"fog": ()}, replace(SETTINGS, target=59))
    with pytest.raises(
        ConfigError, match=r"even none shown gives a bound of 5.0%.* ask for at least 59 target pictures"
    ):
        check_reach({"fog": ()}, replace(SETTINGS, target=58))


def test_stable_diffusions_audits_draw_enough_for_a_detector_that_misses_one_picture_in_six() -> None:
    audit = find_family("stable-diffusion").audit
    calibration = Calibration(0.0, 11, audit.calibration, 0, audit.calibration)
    assert calibration.bound(0, audit.target) <= audit.limit
    assert calibration.bound(0, audit.implicit) <= audit.limit
