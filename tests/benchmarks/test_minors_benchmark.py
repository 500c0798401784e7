"""The benchmark of the rules for mentions of minors."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import minors
from benchmarks.sections import minors_section
from pruneguard.runtime.sampling.request import MAX_PROMPT


def test_refusals_are_counted_by_rule() -> None:
    share, rules = minors.refusals(["a red star", "two kids", "a child", "a woman, 15, smiling"])
    assert (share.value, share.count) == (0.75, 4)
    assert rules == {"English: words": 2, "English: a person of an age": 1}


def test_recall_is_told_for_each_language_and_others_together() -> None:
    lists = {
        "english": {"mentions": ["a child", "a tree"], "others": ["a tree"]},
        "german": {"mentions": ["ein Mädchen"], "others": ["ein Kind"]},
    }
    found = {entry.name: (entry.value, entry.count) for entry in minors.recall(lists)}
    assert found == {
        "found/english": (0.5, 2),
        "found/german": (1.0, 1),
        "refused/statements about adults and things": (0.5, 2),
    }


def test_the_search_for_the_slowest_prompt_has_every_sign_and_repeats_itself() -> None:
    tried = list(minors.units(random.Random(0), drawn=5))
    assert tried == list(minors.units(random.Random(0), drawn=5))
    assert {"a", "#", "9 years ", "8-½"} <= set(tried)
    assert [row["unit"] for row in minors.slowest(["8-", "x"])] == ["8-", "x"]


def test_without_captions_all_else_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minors, "units", lambda rng, drawn: ["8-", "x" * MAX_PROMPT])
    out = tmp_path / "minors.json"
    done = CliRunner().invoke(minors.main, ["--captions", str(tmp_path / "none.csv"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    results = json.loads(out.read_text())
    assert "COCO was not measured: " in minors_section(results)
    assert "refused/captions of COCO" not in {entry["name"] for entry in results["measurements"]}
