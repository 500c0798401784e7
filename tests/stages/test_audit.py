from __future__ import annotations

from functools import partial

import pytest

from pruneguard.bundle import Audit
from pruneguard.measurement import Measurement, Protocol
from pruneguard.stages.audit_record import objection


def audit(
    *, passed: bool, count: int = 64, seed: int = 1000, detector: str = "oracle", files: str = "0", settings: str = "0"
) -> Audit:
    drawn = Measurement(
        name="drawn",
        value=0.0 if passed else 0.2,
        unit="share",
        count=count,
        seeds=(seed, seed + count - 1),
        protocol=Protocol(detector=detector),
    )
    return Audit(
        concept="glow",
        subject="onnx-fp32",
        limit=0.05,
        passed=passed,
        measurements=[drawn],
        digests={"engines/onnx-fp32/a": files * 64},
        settings=settings * 64,
    )


PASSED = partial(audit, passed=True)
FAILED = partial(audit, passed=False)


IMAGES = 64  # as many as the training stage drew


def recorded(new: Audit, earlier: Audit | None) -> bool:
    return objection(new, earlier, IMAGES) is None


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
        assert reason in str(objection(easier, earlier, IMAGES))


def test_an_audit_as_strict_a_failure_and_one_of_other_weights_do() -> None:
    assert recorded(PASSED(), None)
    assert recorded(PASSED(count=128), FAILED())
    assert recorded(FAILED(count=1, seed=7), PASSED())
    assert recorded(PASSED(seed=7, files="1"), FAILED())
    assert recorded(PASSED(detector="clip:other", files="1"), FAILED())
    assert recorded(PASSED(settings="1"), FAILED())
    assert not recorded(PASSED(seed=7, settings="1"), FAILED())


def test_a_failure_on_few_pictures_does_not_lower_the_bar() -> None:
    few = FAILED(count=1)
    assert not recorded(PASSED(count=8), few)
    assert not recorded(PASSED(count=8), None)
    assert recorded(PASSED(), few)


def test_another_detectors_failure_counts_and_never_opens_a_way_to_its_pass() -> None:
    other = FAILED(detector="clip:other")
    assert recorded(other, PASSED())
    assert not recorded(other, FAILED())
    assert not recorded(PASSED(detector="clip:other"), FAILED())
