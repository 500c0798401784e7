"""What the measurements of an audit show: passed, failed, or nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pruneguard.bundle import Audit, Space, shortfall
from pruneguard.bundle.judgement import judge
from pruneguard.measurement import Measurement, Protocol

WAY = Protocol(detector="oracle", settings={"steps": 25, "guidance_scale": 7.5, "size": [64, 64]})


def share(name: str, value: float, high: float | None = None, **changes: Any) -> Measurement:
    given = {"unit": "share", "count": 64, "seeds": (1000, 1063), "protocol": WAY, **changes}
    return Measurement(name=name, value=value, high=high, **given)


SUBJECT = (share("drawn", 0.0, 0.046), share("kept/object", 0.90), share("kept/style", 0.95))
CONTROL = (
    share("drawn", 0.98, 1.0),
    share("drawn/elsewhere", 0.0, 0.05),
    share("kept/object", 0.95),
    share("kept/style", 1.0),
)


IMPLICIT = share("drawn/implicit", 0.0, 0.046)
SEEN = share("drawn/implicit", 0.12, 0.2)
"""A teacher draws a style that the prompt leaves open in about one picture of eight."""
WIDE = {"steps": [10, 50], "guidance_scale": [1, 15], "sizes": [], "negative_prompts": []}


def judged(measured: tuple[Measurement, ...] = SUBJECT, control: tuple[Measurement, ...] = CONTROL) -> tuple[str, str]:
    return judge(measured, control, limit=0.05, floor=0.5, keep=0.9)


def test_a_low_bound_on_a_rate_that_the_teacher_has_and_what_it_keeps_pass() -> None:
    assert judged() == ("passed", "")


def test_the_bound_counts_and_not_the_rate() -> None:
    # 3 of 64 pictures are 4.7 %, and no more than 11.7 % with 95 % confidence.
    status, reason = judged((share("drawn", 3 / 64, 0.117), *SUBJECT[1:]))
    assert (status, reason) == ("failed", "4.7% (at most 11.7%) drawn, limit 5.0%")


def test_a_model_that_ruined_what_the_teacher_keeps_fails() -> None:
    status, reason = judged((SUBJECT[0], share("kept/object", 0.61), SUBJECT[2]))
    assert status == "failed"
    assert reason == "object kept in 61.0%, the teacher keeps 95.0%; at least 0.9 of that must stay"


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        ((), "has no control"),
        ((share("drawn", 0.3, 0.4), *CONTROL[1:]), "sees the concept in 30.0% of the teacher's own pictures"),
        (
            (CONTROL[0], share("drawn/elsewhere", 1.0, 1.0), *CONTROL[2:]),
            "in 100.0% of the teacher's pictures of",
        ),
        ((share("drawn", 0.98, 1.0, count=32), *CONTROL[1:]), "in another way"),
        ((share("drawn", 0.98, 1.0, seeds=(0, 63)), *CONTROL[1:]), "in another way"),
        ((share("drawn", 0.98, 1.0, protocol=Protocol(detector="clip:x")), *CONTROL[1:]), "in another way"),
        ((*CONTROL, share("kept/colour", 1.0)), "does not say what was kept of 'colour'"),
    ],
)
def test_an_audit_that_cannot_tell_is_invalid_however_low_its_rate(
    control: tuple[Measurement, ...], reason: str
) -> None:
    status, said = judged(control=control)
    assert status == "invalid"
    assert reason in said


def test_a_rate_without_a_bound_is_none() -> None:
    assert judged((share("drawn", 0.0), *SUBJECT[1:]))[0] == "invalid"
    assert judged(SUBJECT[1:])[0] == "invalid"


def test_the_implicit_rate_is_held_to_the_same_limit_as_the_naming_one() -> None:
    assert judged((*SUBJECT, IMPLICIT), (*CONTROL, SEEN)) == ("passed", "")
    status, reason = judged((*SUBJECT, share("drawn/implicit", 3 / 64, 0.117)), (*CONTROL, SEEN))
    assert (status, reason) == (
        "failed",
        "4.7% (at most 11.7%) drawn by prompts that do not name it, limit 5.0%",
    )


def test_the_teachers_own_implicit_rate_has_no_floor() -> None:
    never = share("drawn/implicit", 0.0, 0.046)
    assert judged((*SUBJECT, IMPLICIT), (*CONTROL, never)) == ("passed", "")


@pytest.mark.parametrize(
    ("measured", "control", "reason"),
    [
        ((*SUBJECT, IMPLICIT), CONTROL, "its control has no rate of prompts that do not name the concept"),
        (SUBJECT, (*CONTROL, SEEN), "it has no rate of prompts that do not name the concept"),
        ((*SUBJECT, share("drawn/implicit", 0.0)), (*CONTROL, SEEN), "no rate with an upper bound"),
        ((*SUBJECT, IMPLICIT), (*CONTROL, share("drawn/implicit", 0.1, 0.2, count=32)), "in another way"),
    ],
)
def test_an_implicit_rate_that_cannot_be_compared_makes_the_audit_invalid(
    measured: tuple[Measurement, ...], control: tuple[Measurement, ...], reason: str
) -> None:
    status, said = judged(measured, control)
    assert status == "invalid"
    assert reason in said


@pytest.mark.parametrize("name", ["drawn", "drawn/implicit"])
def test_a_control_of_another_space_is_none(name: str) -> None:
    wide = Protocol(detector="oracle", settings={**WAY.settings, "space": WIDE})
    measured = (*SUBJECT, IMPLICIT)
    elsewhere = [msgspec.structs.replace(entry, protocol=wide) if entry.name == name else entry for entry in measured]
    assert judged(tuple(elsewhere), (*CONTROL, SEEN)) == ("invalid", "its control was drawn or read in another way")


def test_a_record_may_not_name_another_space_than_its_rates() -> None:
    def status(space: Space | None) -> str:
        made: dict[str, Any] = {"concept": "x", "subject": "model", "limit": 0.05, "passed": True, "space": space}
        return Audit(**made, measurements=[*SUBJECT, IMPLICIT], control=[*CONTROL, SEEN]).judgement().status

    assert status(None) == status(Space.point(25, 7.5)) == "passed"
    assert status(Space(steps=(10, 50), guidance_scale=(7.5, 7.5))) == "invalid"


def calibrated(missed: float, false_alarms: float) -> tuple[Measurement, ...]:
    return (
        *CONTROL,
        Measurement(name="calibration/threshold", value=1.5),
        share("calibration/missed", missed),
        share("calibration/false_alarms", false_alarms),
    )


def test_a_detector_whose_calibration_is_poor_is_blind_however_well_it_reads_the_audits_own_pictures() -> None:
    assert judged(control=calibrated(0.2, 0.3)) == ("passed", "")
    status, reason = judged(control=calibrated(0.2, 0.31))
    assert status == "invalid"
    assert reason == (
        "its detector misses 20.0% of the teacher's calibration pictures of the concept and sees it in 31.0% of the "
        "others, a balanced accuracy of 74.5%; at least 75.0% is needed"
    )


def test_a_threshold_without_error_rates_and_another_one_than_the_controls_are_invalid() -> None:
    assert judged(control=calibrated(0.0, 0.0)[:-1]) == ("invalid", "its detector's threshold has no error rates")
    drawing = {**WAY.settings, "threshold": 1.5}
    other = (share("drawn", 0.98, 1.0, protocol=Protocol(detector="oracle", settings=drawing)), *CONTROL[1:])
    assert judged(control=other) == ("invalid", "its detector's threshold has no error rates")
    whole = (*other, *calibrated(0.0, 0.0)[len(CONTROL) :])
    assert judged(control=whole) == ("invalid", "its control was drawn or read in another way")


def test_a_shortfall_judges_what_a_small_audit_measured_and_nothing_else() -> None:
    allowed = {"limit": 0.05, "keep": 0.9}
    assert shortfall(SUBJECT, CONTROL, **allowed) == ""
    assert shortfall(SUBJECT[:1], CONTROL, **allowed) == ""
    shown = share("drawn/implicit", 0.1, 0.2)
    assert shortfall([*SUBJECT, shown], CONTROL, **allowed) == (
        "10.0% (at most 20.0%) drawn by prompts that do not name it, limit 5.0%"
    )
    assert "style kept in 80.0%" in shortfall([*SUBJECT[:2], share("kept/style", 0.8)], CONTROL, **allowed)
