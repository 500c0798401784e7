from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.bundle import Audit
from pruneguard.stages.audit import objection

FAILED = Audit("glow", "onnx", 0.2, 0.05, False, {}, 160, {"onnx/a": "0" * 64}, "oracle", target_images=64, seed=1000)
PASSED = replace(FAILED, target_rate=0.0, passed=True)


IMAGES = 64  # as many as the training stage drew


def recorded(new: Audit, earlier: Audit | None) -> bool:
    return objection(new, earlier, IMAGES) is None


@pytest.mark.parametrize(
    ("easier", "reason"),
    [
        (
            replace(PASSED, target_images=63),
            "passed on 63 pictures that call for the concept; at least 64 are needed",
        ),
        (
            replace(PASSED, seed=1001),
            "passed from seed 1001; the earlier audit of the same weights was drawn from 1000",
        ),
        (replace(PASSED, detector="clip:other"), "the same weights was read by oracle, this one by clip:other"),
    ],
)
def test_a_pass_that_was_easier_to_get_replaces_nothing(easier: Audit, reason: str) -> None:
    for earlier in (FAILED, PASSED):
        assert reason in str(objection(easier, earlier, IMAGES))


def test_an_audit_as_strict_a_failure_and_one_of_other_weights_do() -> None:
    assert recorded(PASSED, None)
    assert recorded(replace(PASSED, target_images=128), FAILED)
    assert recorded(replace(FAILED, target_images=1, seed=7), PASSED)
    assert recorded(replace(PASSED, seed=7, digests={"onnx/a": "1" * 64}), FAILED)
    assert recorded(replace(PASSED, detector="clip:other", digests={"onnx/a": "1" * 64}), FAILED)


def test_a_failure_on_few_pictures_does_not_lower_the_bar() -> None:
    few = replace(FAILED, target_images=1)
    assert not recorded(replace(PASSED, target_images=8), few)
    assert not recorded(replace(PASSED, target_images=8), None)
    assert recorded(PASSED, few)


def test_another_detectors_failure_counts_and_never_opens_a_way_to_its_pass() -> None:
    other = replace(FAILED, detector="clip:other")
    assert recorded(other, PASSED)
    assert not recorded(other, FAILED)
    assert not recorded(replace(PASSED, detector="clip:other"), FAILED)
