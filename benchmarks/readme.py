"""Writes the numbers of README.md and benchmarks/README.md from the committed results; nobody types one by hand.

python -m benchmarks.readme            # rewrite both pages
python -m benchmarks.readme --check    # exit 1 if a page does not show the results; warn of outdated results
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.sections import (
    atelier_section,
    cold_section,
    demo_section,
    erasers_section,
    folding_section,
    latency_section,
    minors_section,
    oracle_section,
    routes_section,
    short_commit,
    together_section,
    unlearning_section,
)

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Section:
    """A part of a page: the results file `name`.json, how to write it, and the code whose figures it shows."""

    name: str
    write: Callable[[dict[str, Any]], str]
    code: tuple[str, ...]
    """Paths from the root. If one of them changed since the results' commit, the figures may be outdated."""


_SERVED = ("runtime/", "pruneguard/bundle/", "pruneguard/text/")
_DRAWN = ("runtime/engines/", "runtime/sampling/", "pruneguard/atelier/")
_TRAINED = (
    "pruneguard/erasure/",
    "pruneguard/training/",
    "pruneguard/pruning/",
    "pruneguard/evaluation/",
    "pruneguard/families/",
)
_BUNDLED = (
    *_DRAWN,
    *_TRAINED,
    "pruneguard/concepts/",
    "pruneguard/data/",
    "pruneguard/stages/",
    "export/",
    "benchmarks/served.py",
    "benchmarks/never_saw/",
)
PAGES: dict[str, tuple[Section, ...]] = {
    "README.md": (Section("demo", demo_section, ("pruneguard/", "export/", "runtime/")),),
    "benchmarks/README.md": (
        Section("atelier", atelier_section, (*_DRAWN, "pruneguard/models.py", "benchmarks/atelier.py")),
        Section(
            "latency",
            latency_section,
            (*_DRAWN, "export/", "pruneguard/pruning/", "pruneguard/evaluation/latency.py", "benchmarks/latency.py"),
        ),
        Section("cold_start", cold_section, (*_SERVED, "benchmarks/cold_start.py")),
        Section("erasers", erasers_section, (*_DRAWN, *_TRAINED, "benchmarks/erasers.py")),
        Section("oracle", oracle_section, ("pruneguard/atelier/", "benchmarks/oracle.py")),
        Section("together", together_section, (*_BUNDLED, "benchmarks/together.py")),
        *(
            Section(name, partial(unlearning_section, name=name), (*_BUNDLED, "benchmarks/unlearning.py"))
            for name in ("unlearning", "unlearning_nudity")
        ),
        Section("routes", routes_section, (*_BUNDLED, "benchmarks/routes.py")),
        Section("folding", folding_section, ("pruneguard/atelier/", "pruneguard/pruning/", "benchmarks/folding.py")),
        Section("minors", minors_section, ("pruneguard/text/", "tests/text/held_out.toml", "benchmarks/minors.py")),
    ),
}
"""Each section fills the place between the marks of its name."""


def outdated(commit: str | None, code: Sequence[str], root: Path = ROOT) -> bool:
    """Whether files below the paths `code` differ from those of the commit.

    True as well for results without a commit, for results from a tree with uncommitted changes ("+changes"), and for a
    commit that the repository does not have. False outside a repository, because nothing is known there.
    """
    if not (root / ".git").exists():
        return False
    if commit is None or commit.endswith("+changes"):
        return True
    done = subprocess.run(
        ["git", "-C", str(root), "diff", "--quiet", commit, "--", *code], capture_output=True, check=False
    )
    return done.returncode != 0


def warnings(results: Path = RESULTS, root: Path = ROOT) -> list[str]:
    """One line for each section whose results are older than the code that they rest on."""
    lines = []
    for section in (section for parts in PAGES.values() for section in parts):
        path = results / f"{section.name}.json"
        commit = json.loads(path.read_text()).get("commit") if path.exists() else None
        if path.exists() and outdated(commit, section.code, root):
            lines.append(
                f"figures of {section.name} are of commit {short_commit(commit)}; their code has changed since"
            )
    return lines


def render(text: str, sections: Sequence[Section]) -> str:
    """A page's text with its sections filled from the results there are."""
    for section in sections:
        path = RESULTS / f"{section.name}.json"
        body = section.write(json.loads(path.read_text())) + "\n" if path.exists() else ""
        before, begin, rest = text.partition(f"<!-- {section.name}:begin -->\n")
        _, end, after = rest.partition(f"<!-- {section.name}:end -->")
        text = before + begin + body + end + after
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a page does not show the results.")
def main(check: bool) -> None:
    """Rewrite the numbers of both pages."""
    pages = {ROOT / name: sections for name, sections in PAGES.items()}
    rendered = {page: render(page.read_text(), sections) for page, sections in pages.items()}
    if not check:
        for page, text in rendered.items():
            page.write_text(text)
        return
    for line in warnings():
        click.echo(f"warning: {line}", err=True)
    late = [page.relative_to(ROOT) for page, text in rendered.items() if page.read_text() != text]
    sys.exit(f"out of date: {', '.join(map(str, late))}; run python -m benchmarks.readme" if late else 0)


if __name__ == "__main__":
    main()
