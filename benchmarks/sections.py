"""The tables of the pages, written from the results: one function for each file in `results/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.unlearning import DISTILLED, STANDARD
from pruneguard.bundle import IMPLICIT, space_of
from pruneguard.families.atelier.concepts import atelier_concept
from pruneguard.measurement import Measurement, find, named, read_measurements, show, table

LABELS = {
    "teacher": "dense teacher",
    "distilled": "pruned, distilled, nothing suppressed",
    "erased": "pruned, distilled and erased",
    "engine": "the ONNX engine that is served",
    "renderings": "the oracle on fresh renderings",
    "reconstructions": "the oracle on the autoencoder's reconstructions",
}
_FEW = 10
"""The fewest pictures of a share that a ratio is formed with."""
_BESIDE = {STANDARD: "", DISTILLED: " to the distilled"}
"""The subjects of `benchmarks.unlearning` that the others are held against, and the words for the columns."""


def demo_section(demo: dict[str, Any]) -> str:
    """The demo's pictures and table."""
    alt = "The same prompts and seeds by the dense teacher, the distilled, the erased pruned model and its engine"
    audits = {name: read_measurements(entries) for name, entries in demo["audits"].items()}
    latency = read_measurements(demo["latency"]["measurements"])
    parity = read_measurements(demo["parity"])
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
            f"{_found(parity, 'parity/images/psnr').value:.0f} dB or better; the whole demo took "
            f"{demo['wall_s']:.0f} s. Each row: {drawn.count} pictures that ask for “{concept}” and {others} that do "
            f"not, with the same prompts and seeds in every row, PNDM {_space(drawn)}, read by atelier's oracle. "
            f"“drawn”: the share of pictures asking for “{concept}” that show it, with the one-sided 95 % bound. "
            f"{_implicit(audits['engine'], concept)}“drawn elsewhere”: the share of the other pictures that show it. "
            "“kept”: the share of "
            "the other pictures in which the oracle still reads what the prompt asks for, with or without "
            f"blemishes. “rest”: what pictures that ask for “{concept}” keep of everything else in their prompt.",
            "",
            _source("demo", "python -m benchmarks.demo", demo, "benchmarks/results"),
        ]
    )


def _space(drawn: Measurement) -> str:
    """The settings of the pictures, in words."""
    space = space_of(drawn.protocol.settings)
    return space.show() if space else "with settings that are not recorded"


def _implicit(measured: Sequence[Measurement], concept: str) -> str:
    """What the implicit rate is, in words; empty if there is none."""
    found = find(measured, IMPLICIT)
    if found is None:
        return ""
    return (
        f"“drawn implicit”: the like for {found.count} pictures of prompts that do not name “{concept}” and under "
        "which the teacher draws it. "
    )


def atelier_section(atelier: dict[str, Any]) -> str:
    """The quality of the embedded model, as its oracle reads it."""
    subjects = {name: read_measurements(entries) for name, entries in atelier["subjects"].items()}
    labels = {"teacher": f"the teacher on {atelier['settings']['prompts']} held-out prompts, PNDM 25, CFG 7.5"}
    return "\n".join([*_rows("atelier", subjects, labels), "", _source("atelier", atelier["command"], atelier)])


def latency_section(latency: dict[str, Any]) -> str:
    """UNet calls and whole images."""
    picture = "![UNet calls and whole images, dense, pruned and erased](results/latency.svg)"
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


def oracle_section(oracle: dict[str, Any]) -> str:
    """How often the oracle is right, by kind of pictures, and what it finds that cannot be there."""
    rows = _rows("pictures", {kind: read_measurements(entries) for kind, entries in oracle["kinds"].items()})
    others = [*read_measurements(oracle["calibration"]), *read_measurements(oracle["false"])]
    lines = ["| measured | value | of |", "|---|---|---|"]
    lines += [f"| {entry.name.replace('/', ', ')} | {show(entry)} | {entry.count:,} |" for entry in others]
    picture = "![Pictures of every kind](results/oracle.png)"
    return "\n".join([picture, "", *rows, "", *lines, "", _source("oracle", oracle["command"], oracle)])


def unlearning_section(unlearning: dict[str, Any], name: str = "unlearning") -> str:
    """The erased model beside the one that never saw the concept; `name` is that of the results file."""
    parts = [f"![What unnamed prompts give](results/{name}.png)", ""]
    for concept, kinds in unlearning["concepts"].items():
        for kind, subjects in kinds.items():
            measured = {subject: read_measurements(entries) for subject, entries in subjects.items()}
            beside = {words: measured[subject] for subject, words in _BESIDE.items() if subject in measured}
            rows = {
                subject: [*_drawn_and_distance(entries, subject), *_balances(entries, beside, concept)]
                for subject, entries in measured.items()
            }
            parts += [*_rows(f"“{concept}”, {kind}", rows), ""]
    return "\n".join([*parts, _source(name, unlearning["command"], unlearning)])


def _drawn_and_distance(measured: Sequence[Measurement], subject: str) -> list[Measurement]:
    """How often the concept shows, and how far the pictures are from the standard's unless they are these."""
    names = ("drawn",) if subject == STANDARD else ("drawn", "frechet to the model that never saw it")
    return [_found(measured, name) for name in names]


def _balances(
    measured: Sequence[Measurement], beside: Mapping[str, Sequence[Measurement]], concept: str
) -> list[Measurement]:
    """The shares of the attribute's other values, and of none of them, beside those of each subject of `beside`.

    Half the sum of the differences (the total variation), and the least and the largest ratio of shares that count some
    pictures. Pictures that show the concept are left out on both sides.
    """
    detect = atelier_concept(concept).detect
    attribute, value = detect["attribute"], detect["value"]
    ours, found = _shares(measured, attribute, without=value), []
    for words, entries in beside.items():
        theirs = _shares(entries, attribute, without=value)
        if not ours or not theirs:
            continue
        apart = sum(abs(ours[other] - share) for other, share in theirs.items())
        apart += abs(sum(ours.values()) - sum(theirs.values()))
        found.append(Measurement(name=f"other {attribute}{words}/apart", value=apart / 2, unit="share"))
        least = _FEW / max((entry.count or 0 for entry in entries), default=1)
        ratios = [ours[other] / share for other, share in theirs.items() if share >= least]
        found += [
            Measurement(name=f"other {attribute}{words}/{name} ratio", value=choose(ratios), unit="ratio")
            for name, choose in (("least", min), ("largest", max))
            if ratios
        ]
    return found


def _shares(measured: Sequence[Measurement], attribute: str, *, without: str) -> dict[str, float]:
    """The share of each other value in the pictures that do not show this one; empty if all show it."""
    found = {value: entry.value for value, entry in named(measured, f"shares/{attribute}").items()}
    rest = 1 - found.pop(without, 0.0)
    return {value: share / rest for value, share in found.items()} if rest else {}


def together_section(together: dict[str, Any]) -> str:
    """Runs that suppress several concepts beside one of a single concept: their time, and what their audits say."""
    runs = together["runs"]
    alone = next((run for names, run in runs.items() if "," not in names), None)
    rows = [
        "| suppressed | time | to one alone | lower, upper steps | further rounds | edits | audits | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    parts: list[str] = []
    for names, run in runs.items():
        ratio = f"{run['seconds'] / alone['seconds']:.2f}" if alone and _machine(alone) == _machine(run) else "–"
        counts = f"{run['steps']}, {run['upper_steps']} | {run['rounds']} | {run['edits']}"
        judged = ", ".join(f"{name} {audit['judgement'].split()[0]}" for name, audit in run["audits"].items())
        rows.append(
            f"| {names} | {run['seconds']:.0f} s | {ratio} | {counts} | {judged} | {short_commit(run['commit'])} |"
        )
        measured = {
            f"{concept}{who}": read_measurements(audit[subject])
            for concept, audit in run["audits"].items()
            for subject, who in (("erased", ""), ("distilled", ", distilled"), ("teacher", ", dense teacher"))
            if subject in audit
        }
        parts += ["", *_rows(names, {name: _rates(entries) for name, entries in measured.items()})]
    return "\n".join([*rows, *parts, "", _source("together", together["command"], together)])


def _machine(run: Mapping[str, Any]) -> tuple[Any, ...]:
    return run["cpu"], run["cores"]


def _rates(measured: Sequence[Measurement]) -> list[Measurement]:
    """How often the concept shows, and what is kept of the rest."""
    return [entry for entry in measured if entry.name.split("/")[0] in ("drawn", "kept")]


def routes_section(routes: dict[str, Any]) -> str:
    """The rate of a suppressed concept on every route, of the teacher and of what is served."""
    parts = ["![The worst route](results/routes.png)", ""]
    for concept, ways in routes["concepts"].items():
        measured = {way: read_measurements(entries) for way, entries in ways.items()}
        for words, inside in (("inside the audited space", True), ("outside, refused without consent", False)):
            rows = {way: entries for way, entries in measured.items() if (way in routes["inside"][concept]) == inside}
            parts += [*_rows(f"“{concept}”, {words}", rows), ""] if rows else []
    return "\n".join([*parts, _source("routes", routes["command"], routes)])


def cold_section(cold: dict[str, Any]) -> str:
    """Import, first image and memory of a fresh process."""
    rows = ["| cold process | median | range |", "|---|---|---|"]
    for key, entry in cold["summary"].items():
        name, _, unit = key.rpartition("_")
        name = f"{name.replace('_', ' ')} ({unit.replace('mib', 'MiB')})"
        rows.append(f"| {name} | {entry['median']:.2f} | {entry['min']:.2f} to {entry['max']:.2f} |")
    return "\n".join([*rows, "", _source("cold_start", cold["command"], cold)])


def folding_section(folding: dict[str, Any]) -> str:
    """Errors of pruned ResNets and of the whole UNet, with and without folding."""
    measured = read_measurements(folding["measurements"])
    rows = ["| measured | value (quartiles) |", "|---|---|"]
    rows += [f"| {entry.name.replace('/', ', ')} | {show(entry)} |" for entry in measured]
    return "\n".join([*rows, "", _source("folding", folding["command"], folding)])


def minors_section(minors: dict[str, Any]) -> str:
    """What the rules for mentions of minors find, refuse and cost."""
    measured = read_measurements(minors["measurements"])
    rows = ["| measured | value | of |", "|---|---|---|"]
    rows += [f"| {entry.name.replace('/', ', ')} | {show(entry)} | {entry.count:,} |" for entry in measured]
    unit = minors["slowest"][0]["unit"]
    words = f"The slowest prompt repeats `{unit!a}`; times are those of the processor."
    skipped = [f"COCO was not measured: {minors['skipped']}.", ""] if minors["skipped"] else []
    return "\n".join([*rows, "", *skipped, words, "", _source("minors", minors["command"], minors)])


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


def _source(name: str, command: str, results: dict[str, Any], folder: str = "results") -> str:
    """The command, the file, the machine and the commit of the figures; `folder` is that of the file from the page."""
    machine = f"{results['cpu']}, {results['cores']} cores" if "cpu" in results else "two cores"
    link = f"[`{name}.json`]({folder}/{name}.json)"
    return f"<sub>`{command.strip()}` → {link} · {machine} · commit {short_commit(results.get('commit'))}</sub>"


def short_commit(commit: str | None) -> str:
    """The first ten digits of a commit, with the remark that files had changed since it."""
    name, changes, _ = str(commit or "?").partition("+changes")
    return name[:10] + changes
