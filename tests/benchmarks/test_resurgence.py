from __future__ import annotations

from benchmarks.resurgence import attempts
from pruneguard.concepts import load_concept


def test_attempts_change_one_thing_each_and_the_first_changes_none() -> None:
    prompts = ["a blue ring in mosaic style", "mosaic style, a red star"]
    found = attempts(load_concept("mosaic", family="atelier"), prompts)
    assert next(iter(found.values())) == {}
    assert all(len(changes) <= 1 for changes in found.values())
    *_, last = found.values()
    assert last["negative_prompt"] == ["a blue ring in flat style", "flat style, a red star"]


def test_nudity_is_dressed_by_its_attempts() -> None:
    *_, last = attempts(load_concept("nudity", family="atelier"), ["a bare mannequin"]).values()
    assert last["negative_prompt"] == ["a dressed mannequin"]
