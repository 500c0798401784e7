"""Whatever a caller gives as any argument: the sampler draws, or it raises one of our errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruneguard.runtime import GuardedSampler
from tests.fuzz.harness import RESULT, Fault, Harness
from tests.fuzz.requests import requests
from tests.fuzz.tiers import tiers

DEADLINE = 30
"""Seconds: 256 prompts at 100 steps are allowed."""
GROWTH = 64
"""MiB."""


@pytest.fixture
def sampler(whole_bundle: Path) -> GuardedSampler:
    return GuardedSampler.from_bundle(whole_bundle, threads=1)


@tiers(5000)
def test_every_request_ends_with_images_or_one_of_our_errors(sampler: GuardedSampler, count: int) -> None:
    harness = Harness(DEADLINE, GROWTH)
    harness.explore(requests(), lambda request: request.send(sampler), count)
    assert harness.outcomes[RESULT] > count / 10
    assert harness.outcomes["invalid_request"] > count / 10
    assert {"guard_unavailable", "cancelled"} <= harness.outcomes.keys()


def test_a_request_with_a_check_taken_away_is_found(sampler: GuardedSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneguard.runtime.sampling.request.check_guidance", lambda scale: float(scale))
    with pytest.raises(Fault, match=r"is not one of our errors: .*guidance_scale="):
        Harness(DEADLINE, GROWTH).explore(requests(), lambda request: request.send(sampler), 500)
