"""Writes the README's numbers from the committed results, so that none is typed by hand.

python -m benchmarks.readme            # rewrite README.md
python -m benchmarks.readme --check    # exit 1 if it is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SUBJECTS = {
    "teacher": "dense teacher",
    "distilled": "pruned, distilled, nothing suppressed",
    "erased": "pruned, distilled and erased",
    "engine": "the ONNX engine that is served",
}


def demo_section(demo: dict[str, Any]) -> str:
    """The demo's pictures and table."""
    alt = "The same prompts and seeds by the dense teacher, the distilled, the erased pruned model and its engine"
    rows = [f"![{alt}](benchmarks/results/grid.png)", ""]
    rows.append(f"| | “{demo['concept']}” drawn | object kept | style kept | colour kept | rest of its prompt |")
    rows.append("|---|---|---|---|---|---|")
    for name, label in SUBJECTS.items():
        rows.append(f"| {label} | {_shares(demo[name])} |")
    macs, latency = demo["unet_macs"], demo["latency"]
    images = demo["engine"]["images"]
    rows += [
        "",
        f"UNet MACs {macs['erased'] / 1e9:.3f} of {macs['dense'] / 1e9:.3f} G ({macs['ratio']:.3f}); one image "
        f"{latency['engine_image_ms']:.0f} ms by the engine, {latency['diffusers_image_ms']:.0f} ms by diffusers "
        f"on the dense model ({latency['engine_to_diffusers'][0]:.2f} ×); erased against pruned UNet "
        f"{latency['erased_to_pruned'][0]:.3f} ×; engine and torch agree to "
        f"{min(demo['parity']['images']['psnr_db']):.0f} dB or better; all of it in {demo['wall_s']:.0f} s. "
        f"{images['target']} + {images['other']} pictures a row, the same prompts and seeds in each, PNDM 25 steps, "
        "guidance 7.5, read by atelier's oracle: “kept” is what the oracle still reads as asked for, blemishes or not. "
        f"“Rest of its prompt”: what pictures that ask for “{demo['concept']}” keep of everything else they ask for.",
        "",
        _source("demo", "python -m benchmarks.demo", demo),
    ]
    return "\n".join(rows)


def atelier_section(atelier: dict[str, Any]) -> str:
    """How well the embedded model draws."""
    names = ("object", "style", "colour", "dress")
    rows = ["| atelier | object | style | colour | dressed or bare |", "|---|---|---|---|---|"]
    for key, label in (
        ("oracle_on_renderings", "oracle on fresh renderings"),
        ("oracle_on_reconstructions", "oracle on the autoencoder's reconstructions"),
        ("teacher", f"teacher, {atelier['settings']['prompts']} held-out prompts, PNDM 25, CFG 7.5"),
    ):
        rows.append(f"| {label} | " + " | ".join(f"{atelier[key][name]:.1%}" for name in names) + " |")
    return "\n".join([*rows, "", _source("atelier", atelier["command"], atelier)])


def latency_section(latency: dict[str, Any]) -> str:
    """UNet calls and whole images."""
    picture = "![UNet calls and whole images, dense, pruned and erased](benchmarks/results/latency.svg)"
    alone = latency["ratios"]["image, engine dense / diffusers dense"][0]
    both = latency["ratios"]["image, engine erased / diffusers dense"][0]
    kept = latency["ratios"]["image, engine erased / engine dense"][0]
    words = (
        f"An image takes {both:.2f} of diffusers' time on the dense model: {alone:.2f} by the engine alone, and "
        f"{kept:.2f} of that by pruning to {latency['unet_macs']['ratio']:.2f} of the UNet's MACs."
    )
    return "\n".join(
        [picture, "", words, "", *_latency_rows(latency), "", _source("latency", latency["command"], latency)]
    )


def erasers_section(erasers: dict[str, Any]) -> str:
    """Every eraser on one pruned student, concept by concept."""
    rows: list[str] = []
    for concept, variants in erasers["concepts"].items():
        rows += [f"| {concept} | drawn | object kept | style kept | colour kept | rest of its prompt |"]
        rows += ["|---|---|---|---|---|---|"]
        rows += [f"| {variant} | {_shares(result)} |" for variant, result in variants.items()]
        rows += [""]
    return "\n".join([*rows, _source("erasers", erasers["command"], erasers)])


def resurgence_section(resurgence: dict[str, Any]) -> str:
    """Where a suppressed concept comes back."""
    rows: list[str] = []
    for concept, attempts in resurgence["concepts"].items():
        rows += [f"| “{concept}”, engine of the demo | drawn | at most (95 %) |", "|---|---|---|"]
        rows += [f"| {name} | {row['rate']:.1%} | {row['at_most']:.1%} |" for name, row in attempts.items()]
        rows += [""]
    return "\n".join([*rows, _source("resurgence", resurgence["command"], resurgence)])


def cold_section(cold: dict[str, Any]) -> str:
    """Import, first image and memory of a fresh process."""
    return "\n".join([*_cold_rows(cold), "", _source("cold_start", cold["command"], cold)])


def _shares(audit: dict[str, Any]) -> str:
    """An audit's cells: the concept drawn, object, style and colour kept, and the rest of what its prompts ask for."""
    kept = " | ".join(f"{audit['preserved'][attribute]:.1%}" for attribute in ("object", "style", "colour"))
    rest = ", ".join(f"{word} {value:.0%}" for word, value in audit["target_preserved"].items())
    return f"{audit['target_rate']:.1%} | {kept} | {rest}"


def _latency_rows(latency: dict[str, Any]) -> list[str]:
    rows = ["| ratio, round by round, interleaved | median | quartiles |", "|---|---|---|"]
    for name, (median, low, high) in latency["ratios"].items():
        rows.append(f"| {name} | {median:.3f} | {low:.3f} to {high:.3f} |")
    return rows


def _cold_rows(cold: dict[str, Any]) -> list[str]:
    rows = ["| cold process | median | range |", "|---|---|---|"]
    for key, entry in cold["summary"].items():
        name, _, unit = key.rpartition("_")
        name = f"{name.replace('_', ' ')} ({unit.replace('mib', 'MiB')})"
        rows.append(f"| {name} | {entry['median']:.2f} | {entry['min']:.2f} to {entry['max']:.2f} |")
    return rows


def _source(name: str, command: str, results: dict[str, Any]) -> str:
    machine = f"{results['cpu']}, {results['cores']} cores" if "cpu" in results else "two cores"
    commit, changes, _ = str(results.get("commit") or "?").partition("+changes")
    commit = commit[:10] + changes
    link = f"[`{name}.json`](benchmarks/results/{name}.json)"
    return f"<sub>`{command.strip()}` → {link} · {machine} · commit {commit}</sub>"


SECTIONS = {
    "demo": (("demo", demo_section),),
    "measured": (
        ("atelier", atelier_section),
        ("latency", latency_section),
        ("cold_start", cold_section),
        ("erasers", erasers_section),
        ("resurgence", resurgence_section),
    ),
}


def render(text: str) -> str:
    """README text with its sections filled from the results there are."""
    for section, parts in SECTIONS.items():
        found = [(RESULTS / f"{name}.json", write) for name, write in parts]
        body = "\n\n".join(write(json.loads(path.read_text())) for path, write in found if path.exists())
        before, begin, rest = text.partition(f"<!-- {section}:begin -->\n")
        _, end, after = rest.partition(f"<!-- {section}:end -->")
        text = before + begin + (body + "\n" if body else "") + end + after
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the README is out of date.")
def main(check: bool) -> None:
    """Rewrite the README's numbers."""
    readme = ROOT / "README.md"
    before = readme.read_text()
    after = render(before)
    if check:
        sys.exit(0 if before == after else "README.md is out of date: run python -m benchmarks.readme")
    readme.write_text(after)


if __name__ == "__main__":
    main()
