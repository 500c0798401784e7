"""Writes the README's numbers from the committed results, so that none is typed by hand.

python -m benchmarks.readme            # rewrite README.md
python -m benchmarks.readme --check    # exit 1 if README.md does not show the results; warn of outdated results
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pruneguard.measurement import Measurement, find, named, read_measurements, show, table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
LABELS = {
    "teacher": "dense teacher",
    "distilled": "pruned, distilled, nothing suppressed",
    "erased": "pruned, distilled and erased",
    "engine": "the ONNX engine that is served",
    "renderings": "the oracle on fresh renderings",
    "reconstructions": "the oracle on the autoencoder's reconstructions",
}


@dataclass(frozen=True)
class Section:
    """A part of the README: the results file `name`.json, how to write it, and the code whose figures it shows."""

    name: str
    write: Callable[[dict[str, Any]], str]
    code: tuple[str, ...]
    """Paths from the root. If one of them changed since the results' commit, the figures may be outdated."""


def demo_section(demo: dict[str, Any]) -> str:
    """The demo's pictures and table."""
    alt = "The same prompts and seeds by the dense teacher, the distilled, the erased pruned model and its engine"
    audits = {name: read_measurements(entries) for name, entries in demo["audits"].items()}
    latency = read_measurements(demo["latency"]["measurements"])
    macs, concept = demo["unet_macs"], demo["concept"]
    drawn = _found(audits["engine"], "drawn")
    image, engine = _found(latency, "image/diffusers"), _found(latency, "image/engine")
    others = max((entry.count for entry in named(audits["engine"], "kept").values()), default=0)
    scheduler = image.protocol.settings.get("scheduler", "its scheduler")
    return "\n".join(
        [
            f"![{alt}](benchmarks/results/grid.png)",
            "",
            *_rows(f"“{concept}”", audits),
            "",
            f"UNet MACs {macs['erased'] / 1e9:.3f} of {macs['dense'] / 1e9:.3f} G ({macs['ratio']:.3f}); one image "
            f"{engine.value:.0f} ms by the engine, {image.value:.0f} ms by diffusers with {scheduler} on the dense "
            f"model ({_found(latency, 'image/engine to diffusers').value:.2f} ×); erased against pruned UNet "
            f"{_found(latency, 'unet/erased to pruned').value:.3f} ×; engine and torch agree to "
            f"{min(demo['parity']['images']['psnr_db']):.0f} dB or better; the whole demo took {demo['wall_s']:.0f} s. "
            f"Each row: {drawn.count} pictures that ask for “{concept}” and {others} that do not, with the same "
            "prompts and seeds in every row, PNDM 25 steps, guidance 7.5, read by atelier's oracle. “drawn”: the "
            f"share of pictures asking for “{concept}” that show it, with the one-sided 95 % bound. “kept”: the share "
            "of the other pictures in which the oracle still reads what the prompt asks for, with or without "
            f"blemishes. “rest”: what pictures that ask for “{concept}” keep of everything else in their prompt.",
            "",
            _source("demo", "python -m benchmarks.demo", demo),
        ]
    )


def atelier_section(atelier: dict[str, Any]) -> str:
    """The quality of the embedded model, as its oracle reads it."""
    subjects = {name: read_measurements(entries) for name, entries in atelier["subjects"].items()}
    labels = {"teacher": f"the teacher on {atelier['settings']['prompts']} held-out prompts, PNDM 25, CFG 7.5"}
    return "\n".join([*_rows("atelier", subjects, labels), "", _source("atelier", atelier["command"], atelier)])


def latency_section(latency: dict[str, Any]) -> str:
    """UNet calls and whole images."""
    picture = "![UNet calls and whole images, dense, pruned and erased](benchmarks/results/latency.svg)"
    measured = read_measurements(latency["measurements"])
    alone = _found(measured, "image/engine dense to diffusers dense").value
    both = _found(measured, "image/engine erased to diffusers dense").value
    kept = _found(measured, "image/engine erased to engine dense").value
    words = (
        f"An image takes {both:.2f} of diffusers' time on the dense model: {alone:.2f} by the engine alone, and "
        f"{kept:.2f} of that by pruning to {latency['unet_macs']['ratio']:.2f} of the UNet's MACs."
    )
    rows = ["| ratio, round by round, interleaved | median (quartiles) |", "|---|---|"]
    rows += [f"| {entry.name.replace('/', ', ')} | {show(entry)} |" for entry in measured if entry.unit == "ratio"]
    return "\n".join([picture, "", words, "", *rows, "", _source("latency", latency["command"], latency)])


def erasers_section(erasers: dict[str, Any]) -> str:
    """Every eraser on one pruned student, concept by concept."""
    rows: list[str] = []
    for concept, variants in erasers["concepts"].items():
        rows += _rows(concept, {name: read_measurements(row["measurements"]) for name, row in variants.items()})
        rows += [""]
    return "\n".join([*rows, _source("erasers", erasers["command"], erasers)])


def resurgence_section(resurgence: dict[str, Any]) -> str:
    """The rate of a suppressed concept under settings that no audit uses."""
    rows: list[str] = []
    for concept, attempts in resurgence["concepts"].items():
        measured = {name: read_measurements([entry]) for name, entry in attempts.items()}
        rows += [*_rows(f"“{concept}”, engine of the demo", measured), ""]
    return "\n".join([*rows, _source("resurgence", resurgence["command"], resurgence)])


def cold_section(cold: dict[str, Any]) -> str:
    """Import, first image and memory of a fresh process."""
    rows = ["| cold process | median | range |", "|---|---|---|"]
    for key, entry in cold["summary"].items():
        name, _, unit = key.rpartition("_")
        name = f"{name.replace('_', ' ')} ({unit.replace('mib', 'MiB')})"
        rows.append(f"| {name} | {entry['median']:.2f} | {entry['min']:.2f} to {entry['max']:.2f} |")
    return "\n".join([*rows, "", _source("cold_start", cold["command"], cold)])


def _rows(title: str, rows: Mapping[str, Sequence[Measurement]], labels: Mapping[str, str] | None = None) -> list[str]:
    """A table with a row for each entry and a column for each measurement that is there."""
    header, cells = table(rows)
    known = {**LABELS, **(labels or {})}
    lines = [[title, *header[1:]], *([known.get(name, name), *rest] for name, *rest in cells)]
    first, *others = [f"| {' | '.join(line)} |" for line in lines]
    return [first, "|---" * len(header) + "|", *others]


def _found(measurements: Sequence[Measurement], name: str) -> Measurement:
    """The measurement of that name. Raises KeyError."""
    found = find(measurements, name)
    if found is None:
        raise KeyError(name)
    return found


def _source(name: str, command: str, results: dict[str, Any]) -> str:
    """The command, the file, the machine and the commit of the figures."""
    machine = f"{results['cpu']}, {results['cores']} cores" if "cpu" in results else "two cores"
    link = f"[`{name}.json`](benchmarks/results/{name}.json)"
    return f"<sub>`{command.strip()}` → {link} · {machine} · commit {_short(results.get('commit'))}</sub>"


def _short(commit: str | None) -> str:
    """The first ten digits of a commit, with the remark that files had changed since it."""
    name, changes, _ = str(commit or "?").partition("+changes")
    return name[:10] + changes


_SERVED = ("runtime/", "pruneguard/bundle/", "pruneguard/text/")
_DRAWN = ("runtime/engines/", "runtime/sampling/", "pruneguard/atelier/")
SECTIONS: dict[str, tuple[Section, ...]] = {
    "demo": (Section("demo", demo_section, ("pruneguard/", "export/", "runtime/")),),
    "measured": (
        Section("atelier", atelier_section, (*_DRAWN, "pruneguard/models.py", "benchmarks/atelier.py")),
        Section(
            "latency",
            latency_section,
            (*_DRAWN, "export/", "pruneguard/pruning/", "pruneguard/evaluation/latency.py", "benchmarks/latency.py"),
        ),
        Section("cold_start", cold_section, (*_SERVED, "benchmarks/cold_start.py")),
        Section(
            "erasers",
            erasers_section,
            (
                *_DRAWN,
                "pruneguard/erasure/",
                "pruneguard/training/",
                "pruneguard/pruning/",
                "pruneguard/evaluation/",
                "pruneguard/families/",
                "benchmarks/erasers.py",
            ),
        ),
        Section(
            "resurgence",
            resurgence_section,
            (*_DRAWN, "pruneguard/erasure/", "pruneguard/training/", "export/", "benchmarks/resurgence.py"),
        ),
    ),
}


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
    for section in (section for parts in SECTIONS.values() for section in parts):
        path = results / f"{section.name}.json"
        commit = json.loads(path.read_text()).get("commit") if path.exists() else None
        if path.exists() and outdated(commit, section.code, root):
            lines.append(f"figures of {section.name} are of commit {_short(commit)}; their code has changed since")
    return lines


def render(text: str) -> str:
    """README text with its sections filled from the results there are."""
    for name, parts in SECTIONS.items():
        found = [(RESULTS / f"{section.name}.json", section.write) for section in parts]
        body = "\n\n".join(write(json.loads(path.read_text())) for path, write in found if path.exists())
        before, begin, rest = text.partition(f"<!-- {name}:begin -->\n")
        _, end, after = rest.partition(f"<!-- {name}:end -->")
        text = before + begin + (body + "\n" if body else "") + end + after
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the README does not show the results.")
def main(check: bool) -> None:
    """Rewrite the README's numbers."""
    readme = ROOT / "README.md"
    before = readme.read_text()
    after = render(before)
    if check:
        for line in warnings():
            click.echo(f"warning: {line}", err=True)
        sys.exit(0 if before == after else "README.md is out of date: run python -m benchmarks.readme")
    readme.write_text(after)


if __name__ == "__main__":
    main()
