from __future__ import annotations

from functools import partial

import pytest

from pruneguard.bundle import Audit, Space
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.space import SpaceSettings
from pruneguard.measurement import Measurement, Protocol
from pruneguard.stages.auditing.record import objection

POINT = Space.point(25, 7.5)
WIDE = Space(steps=(10, 50), guidance_scale=(1.0, 15.0))


def audit(
    *,
    passed: bool,
    count: int = 64,
    implicit: int = 0,
    other: int = 0,
    seed: int = 1000,
    detector: str = "oracle",
    files: str = "0",
    settings: str = "0",
    space: Space | None = POINT,
    value: float = 0.2,
) -> Audit:
    drawn, *further = (
        Measurement(
            name=name,
            value=0.0 if passed else value,
            unit="share",
            count=number,
            seeds=(seed, seed + number - 1),
            protocol=Protocol(detector=detector),
        )
        for name, number in (("drawn", count), ("drawn/implicit", implicit), ("drawn/elsewhere", other))
    )
    return Audit(
        concept="glow",
        subject="onnx-fp32",
        limit=0.05,
        passed=passed,
        measurements=[drawn, *(rate for rate in further if rate.count)],
        space=space,
        digests={"engines/onnx-fp32/a": files * 64},
        settings=settings * 64,
    )


PASSED = partial(audit, passed=True)
FAILED = partial(audit, passed=False)


TRAINED = AuditSettings()  # it draws 64 pictures that call for the concept and 96 others, at the point


def recorded(new: Audit, earlier: Audit | None) -> bool:
    return objection(new, earlier, TRAINED) is None


@pytest.mark.parametrize(
    ("easier", "reason"),
    [
        (
            PASSED(count=63),
            "passed on 63 pictures that call for the concept; at least 64 are needed",
        ),
        (
            PASSED(seed=1001),
            "passed from seed 1001; the earlier audit of the same weights was drawn from 1000",
        ),
        (PASSED(detector="clip:other"), "the same weights was read by oracle, this one by clip:other"),
    ],
)
def test_a_pass_that_was_easier_to_get_replaces_nothing(easier: Audit, reason: str) -> None:
    for earlier in (FAILED(), PASSED()):
        assert reason in str(objection(easier, earlier, TRAINED))


def test_an_audit_as_strict_a_failure_and_one_of_other_weights_do() -> None:
    assert recorded(PASSED(), None)
    assert recorded(PASSED(count=128), FAILED())
    assert recorded(FAILED(seed=7), PASSED())
    assert recorded(PASSED(seed=7, files="1"), FAILED())
    assert recorded(PASSED(detector="clip:other", files="1"), FAILED())
    assert recorded(PASSED(settings="1"), FAILED())
    assert not recorded(PASSED(seed=7, settings="1"), FAILED())


def test_a_failure_on_few_pictures_does_not_lower_the_bar() -> None:
    few = FAILED(count=1)
    assert not recorded(PASSED(count=8), few)
    assert not recorded(PASSED(count=8), None)
    assert recorded(PASSED(), few)
    assert objection(few, FAILED(), TRAINED) == (
        "it failed on 1 pictures that call for the concept; at least 64 are needed"
    )


def test_a_seed_that_is_known_to_pass_cannot_be_prepared_by_a_failure_from_it() -> None:
    assert not recorded(FAILED(seed=7, count=8), FAILED())
    assert not recorded(FAILED(seed=7), FAILED())
    assert recorded(FAILED(count=128), FAILED())
    assert not recorded(FAILED(space=POINT), FAILED(space=WIDE))


def test_a_short_failure_replaces_a_pass_only_if_it_is_no_chance() -> None:
    assert recorded(FAILED(count=20, value=0.2), PASSED())  # 4 of 20: more than 5 % with 95 % confidence
    said = objection(FAILED(count=20, value=0.05), PASSED(), TRAINED)
    assert said == "it failed on 20 pictures that call for the concept; at least 64 are needed to replace a pass"
    assert recorded(FAILED(count=64, seed=7, value=0.05), PASSED())


def test_after_a_failure_a_few_more_pictures_are_no_way_to_draw_others() -> None:
    assert objection(PASSED(count=65), FAILED(), TRAINED) == (
        "it passed on 65 pictures that call for the concept; the 64 of the failed audit, or at least 128 are needed "
        "after a failure"
    )
    assert recorded(PASSED(count=128), FAILED())
    assert not recorded(PASSED(implicit=65), FAILED(implicit=64))
    assert not recorded(PASSED(other=97), FAILED(other=96))
    assert recorded(PASSED(count=128, implicit=64, other=96), FAILED(implicit=64, other=96))
    assert not recorded(FAILED(count=65), FAILED())
    assert recorded(PASSED(count=65), PASSED())


def test_after_a_failure_a_wider_space_takes_twice_as_many_pictures() -> None:
    assert "at least 128 are needed after a failure" in str(objection(PASSED(space=WIDE), FAILED(), TRAINED))
    assert recorded(PASSED(count=128, space=WIDE), FAILED())
    assert not recorded(PASSED(count=128, other=96, space=WIDE), FAILED(other=96))


def test_a_pass_without_the_pictures_that_show_what_was_kept_replaces_nothing() -> None:
    assert recorded(PASSED(other=96), FAILED(other=96))
    said = objection(PASSED(), FAILED(other=96), TRAINED, counts={"drawn": 64, "drawn/elsewhere": 96})
    assert said == "it passed on 0 pictures that do not call for the concept; at least 96 are needed"
    # The first audit of an engine has no earlier one, but that of its model tells what there is to draw.
    assert objection(PASSED(), None, TRAINED, counts={"drawn": 64, "drawn/elsewhere": 96}) == said
    assert recorded(PASSED(), None)


def test_another_detectors_failure_counts_and_never_opens_a_way_to_its_pass() -> None:
    other = FAILED(detector="clip:other")
    assert recorded(other, PASSED())
    assert not recorded(other, FAILED())
    assert not recorded(PASSED(detector="clip:other"), FAILED())


def test_a_pass_on_fewer_implicit_pictures_or_without_them_replaces_nothing() -> None:
    assert recorded(PASSED(implicit=64), None)
    said = objection(PASSED(implicit=63), None, TRAINED)
    assert said == "it passed on 63 pictures whose prompts do not name the concept; at least 64 are needed"
    assert not recorded(PASSED(implicit=0), FAILED(implicit=64))
    assert not recorded(PASSED(implicit=64), FAILED(implicit=65))


def test_a_pass_in_a_smaller_space_replaces_nothing() -> None:
    for earlier in (FAILED(space=WIDE), PASSED(space=WIDE)):
        assert recorded(PASSED(space=WIDE), earlier)
        assert objection(PASSED(), earlier, TRAINED) == (
            "it passed on 25 steps, guidance 7.5; the earlier audit of the same weights covered 10 to 50 steps, "
            "guidance 1 to 15"
        )
    wide = AuditSettings(space=SpaceSettings(steps=(10, 50)))
    assert "training's audit covered 10 to 50 steps, guidance 7.5" in str(objection(PASSED(), None, wide))
    assert objection(PASSED(space=WIDE), None, wide) is None
    assert not recorded(PASSED(space=None), None)
