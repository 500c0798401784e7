from __future__ import annotations

from dataclasses import replace

import pytest

from pruneguard.bundle import Audit
from pruneguard.stages.audit import overrules

FAILED = Audit("glow", "onnx", 0.2, 0.05, False, {}, 160, {"onnx/a": "0" * 64}, "oracle", target_images=64, seed=1000)
PASSED = replace(FAILED, target_rate=0.0, passed=True)


@pytest.mark.parametrize(
    "easier", [replace(PASSED, target_images=1), replace(PASSED, seed=1001), replace(PASSED, detector="clip:other")]
)
def test_a_pass_that_was_easier_to_get_replaces_nothing(easier: Audit) -> None:
    assert not overrules(easier, FAILED)
    assert not overrules(easier, PASSED)


def test_an_audit_as_strict_a_failure_and_one_of_other_weights_do() -> None:
    assert overrules(PASSED, None)
    assert overrules(replace(PASSED, target_images=128), FAILED)
    assert overrules(replace(FAILED, target_images=1, seed=7), PASSED)
    assert overrules(replace(PASSED, seed=7, digests={"onnx/a": "1" * 64}), FAILED)
