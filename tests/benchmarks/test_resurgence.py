from __future__ import annotations

import pytest

from benchmarks.resurgence import attempts, drawn
from pruneguard.families.atelier.concepts import atelier_concept


def test_attempts_change_one_thing_each_and_the_first_changes_none() -> None:
    prompts = ["a blue ring in mosaic style", "mosaic style, a red star"]
    found = attempts(atelier_concept("mosaic"), prompts)
    assert next(iter(found.values())) == {}
    assert all(len(changes) <= 1 for changes in found.values())
    *_, last = found.values()
    assert last["negative_prompt"] == ["a blue ring in flat style", "flat style, a red star"]


def test_nudity_is_dressed_by_its_attempts() -> None:
    *_, last = attempts(atelier_concept("nudity"), ["a bare mannequin"]).values()
    assert last["negative_prompt"] == ["a dressed mannequin"]


def test_a_rate_has_its_bound_its_seeds_and_what_the_attempt_changed() -> None:
    found = drawn(0, 64, 5000, "oracle", {"steps": 5, "negative_prompt": ["a", "b"]})
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 64))
    assert (found.value, found.count) == (0.0, 64)
    assert (found.seeds, found.protocol.settings) == ((5000, 5063), {"steps": 5})
