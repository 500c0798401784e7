from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.bundle import Audit
from pruneguard.stages.audit import overrules

FAILED = Audit("glow", "onnx", 0.2, 0.05, False, {}, 160, {"onnx/a": "0" * 64}, "oracle", target_images=64, seed=1000)
PASSED = replace(FAILED, target_rate=0.0, passed=True)


IMAGES = 64  # as many as the training stage drew


@pytest.mark.parametrize(
    "easier", [replace(PASSED, target_images=63), replace(PASSED, seed=1001), replace(PASSED, detector="clip:other")]
)
def test_a_pass_that_was_easier_to_get_replaces_nothing(easier: Audit) -> None:
    assert not overrules(easier, FAILED, IMAGES)
    assert not overrules(easier, PASSED, IMAGES)


def test_an_audit_as_strict_a_failure_and_one_of_other_weights_do() -> None:
    assert overrules(PASSED, None, IMAGES)
    assert overrules(replace(PASSED, target_images=128), FAILED, IMAGES)
    assert overrules(replace(FAILED, target_images=1, seed=7), PASSED, IMAGES)
    assert overrules(replace(PASSED, seed=7, digests={"onnx/a": "1" * 64}), FAILED, IMAGES)


def test_a_failure_on_few_pictures_does_not_lower_the_bar() -> None:
    few = replace(FAILED, target_images=1)
    assert not overrules(replace(PASSED, target_images=8), few, IMAGES)
    assert not overrules(replace(PASSED, target_images=8), None, IMAGES)
    assert overrules(PASSED, few, IMAGES)


def test_another_detector_says_nothing_of_what_the_first_one_saw() -> None:
    assert not overrules(replace(FAILED, detector="clip:other"), PASSED, IMAGES)
    assert not overrules(replace(FAILED, detector="clip:other"), FAILED, IMAGES)
