"""The README's numbers are those of the committed results, and old results are pointed out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.readme import PAGES, ROOT, Section, outdated, render, warnings
from benchmarks.sections import demo_section

Git = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, Git]:
    """A repository with two folders of code and one commit."""

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    for folder in ("drawing", "serving"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("one = 1\n")
    git("init", "--quiet")
    git("add", "-A")
    git("commit", "--quiet", "-m", "first")
    return tmp_path, git


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_the_results_say(page: str) -> None:
    text = (ROOT / page).read_text()
    assert render(text, PAGES[page]) == text, "python -m benchmarks.readme brings it up to date"


@pytest.mark.parametrize("page", PAGES)
def test_what_was_typed_between_the_marks_gives_way_to_the_results(page: str) -> None:
    text = (ROOT / page).read_text()
    for section in PAGES[page]:
        begin = f"<!-- {section.name}:begin -->\n"
        assert begin in text
        assert render(text.replace(begin, begin + "typed by hand\n"), PAGES[page]) == text


def test_every_table_has_the_measurements_that_are_there() -> None:
    demo = json.loads((ROOT / "benchmarks/results/demo.json").read_text())
    assert "| “mosaic” | drawn | drawn implicit | drawn elsewhere | kept object |" in demo_section(demo)
    extra = {**demo["audits"]["engine"][-1], "name": "sharpness", "value": 0.5, "unit": ""}
    demo["audits"]["engine"].append(extra)
    lines = demo_section(demo).splitlines()
    assert next(line for line in lines if line.startswith("| “mosaic”")).endswith("| sharpness |")
    assert next(line for line in lines if line.startswith("| the ONNX engine")).endswith("| 0.5 |")
    assert next(line for line in lines if line.startswith("| dense teacher")).endswith("| – |")


def test_every_section_rests_on_code_that_exists_and_shows_its_commit() -> None:
    for page, section in ((page, section) for page, parts in PAGES.items() for section in parts):
        text = (ROOT / page).read_text()
        assert section.code
        assert [path for path in section.code if not (ROOT / path).exists()] == []
        results = ROOT / f"benchmarks/results/{section.name}.json"
        assert results.exists() == (f"results/{section.name}.json)" in text)  # a benchmark that never ran shows nothing
        if results.exists():
            assert f"commit {json.loads(results.read_text())['commit'][:10]}" in text


def test_results_are_outdated_once_their_code_changed(repository: tuple[Path, Git]) -> None:
    root, git = repository
    commit = git("rev-parse", "HEAD")
    assert not outdated(commit, ("drawing/", "serving/"), root)
    (root / "drawing" / "code.py").write_text("one = 2\n")
    assert outdated(commit, ("drawing/",), root)
    assert not outdated(commit, ("serving/",), root)
    git("commit", "--quiet", "-a", "-m", "second")
    assert outdated(commit, ("drawing/",), root)
    assert not outdated(git("rev-parse", "HEAD"), ("drawing/",), root)


def test_results_of_no_known_commit_are_outdated(repository: tuple[Path, Git], tmp_path: Path) -> None:
    root, git = repository
    commit = git("rev-parse", "HEAD")
    for unknown in (None, "0" * 40, f"{commit}+changes"):
        assert outdated(unknown, ("drawing/",), root)
    (tmp_path / "export").mkdir()
    assert not outdated(None, ("drawing/",), tmp_path / "export")  # a source archive has no repository


def test_a_warning_names_the_section_and_the_commit(
    repository: tuple[Path, Git], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, git = repository
    commit = git("rev-parse", "HEAD")
    parts = tuple(Section(name, str, (f"{name}/",)) for name in ("drawing", "serving", "unmeasured"))
    monkeypatch.setattr("benchmarks.readme.PAGES", {"measured": parts})
    results = root / "results"
    results.mkdir()
    for name in ("drawing", "serving"):
        (results / f"{name}.json").write_text(json.dumps({"commit": commit}))
    assert warnings(results, root) == []
    (root / "drawing" / "code.py").unlink()
    said = [f"figures of drawing are of commit {commit[:10]}; their code has changed since"]
    assert warnings(results, root) == said
