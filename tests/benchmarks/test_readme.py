"""The README's numbers are those of the committed results."""

from __future__ import annotations

from benchmarks.readme import ROOT, SECTIONS, render

README = (ROOT / "README.md").read_text()


def test_the_readme_says_what_the_results_say() -> None:
    assert render(README) == README, "python -m benchmarks.readme brings it up to date"


def test_what_was_typed_between_the_marks_gives_way_to_the_results() -> None:
    for section in SECTIONS:
        begin = f"<!-- {section}:begin -->\n"
        assert begin in README
        assert render(README.replace(begin, begin + "typed by hand\n")) == README
