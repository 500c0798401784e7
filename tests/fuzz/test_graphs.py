"""Whatever an engine's graph computes: an image is drawn with it, or one of our errors is raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.graphs import engines
from tests.fuzz.harness import RESULT, Fault, Harness
from tests.fuzz.tiers import tiers

DEADLINE = 30
"""Seconds: the longest loop of a case takes less than one."""
GROWTH = 64
"""MiB."""


@tiers(200)
def test_every_engine_draws_or_is_refused_by_one_of_our_errors(whole_bundle: Path, tmp_path: Path, count: int) -> None:
    harness = Harness(DEADLINE, GROWTH)
    harness.explore(engines(whole_bundle), lambda engine: engine.draw(tmp_path / "bundle"), count)
    assert harness.outcomes[RESULT] > 0
    assert harness.outcomes["invalid_bundle"] > count / 4
    assert harness.outcomes["engine_failed"] > count / 20


def test_an_engine_whose_output_is_not_checked_is_found(
    whole_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(engine: Any, name: str, inputs: Any, output: str, shape: Any) -> Any:
        return engine.run(inputs, (output,))[output]

    for module in ("coding", "denoising"):
        monkeypatch.setattr(f"pruneguard.runtime.sampling.{module}.run_engine", unchecked)
    with pytest.raises(Fault, match="is not one of our errors: "):
        Harness(DEADLINE, GROWTH).explore(engines(whole_bundle), lambda engine: engine.draw(tmp_path / "bundle"), 200)
