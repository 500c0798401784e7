"""How often a suppressed concept comes back under settings that no audit uses: guidance, steps, negative prompts.

python -m benchmarks.resurgence --bundle pruneguard-demo/bundle

The bundle's engines draw without guards. The runtime refuses some of these requests because of these results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.machine import describe
from pruneguard.atelier.oracle import ATTRIBUTES
from pruneguard.bundle import Bundle
from pruneguard.concepts import Concept
from pruneguard.evaluation.bounds import upper_bound
from pruneguard.families.atelier.detector import OracleDetector
from pruneguard.families.atelier.prompts import atelier_prompts
from pruneguard.measurement import Measurement, Protocol, show
from pruneguard.runtime import draw, engine_components
from pruneguard.settings import plain
from pruneguard.stages.audit import bundle_concepts

RESULT = Path("benchmarks/results/resurgence.json")


def attempts(concept: Concept, prompts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options that each attempt changes, compared with an audit, by a readable name."""
    value = str(concept.detect["value"])
    other = next(other for other in ATTRIBUTES[concept.detect["attribute"]] if other != value)
    return {
        "as in audits": {},
        **{f"guidance {scale:g}": {"guidance_scale": scale} for scale in (1.0, 3.0, 15.0, 30.0)},
        **{f"{steps} steps": {"steps": steps} for steps in (5, 10, 50)},
        "negative prompt “blurry, low quality”": {"negative_prompt": "blurry, low quality"},
        f"negative prompt “{other}”": {"negative_prompt": other},
        f"negative prompt: the same with “{other}”": {
            "negative_prompt": [text.replace(value, other) for text in prompts]
        },
    }


def measure(bundle: Bundle, concept: Concept, *, pictures: int, seed: int) -> dict[str, Measurement]:
    """The rate of the concept by attempt, with its one-sided 95 % bound; each has the same prompts and seeds."""
    name = next(iter(bundle.manifest.engines))
    components, oracle = engine_components(bundle, name), OracleDetector()
    prompts = atelier_prompts(concept, target=pictures, other=0, seed=seed).target
    rows: dict[str, Measurement] = {}
    for name, changes in attempts(concept, prompts).items():
        images = draw(components, prompts, range(seed, seed + pictures), batch_size=32, **changes)
        rows[name] = drawn(int(oracle.detect(images, concept).sum()), pictures, seed, oracle.name, changes)
        click.echo(f"{concept.name}, {name}: {show(rows[name])} of {pictures}")
    return rows


def drawn(shown: int, pictures: int, seed: int, detector: str, changes: dict[str, Any]) -> Measurement:
    """The measurement of `shown` of `pictures`; a list of negative prompts is left out of its protocol."""
    settings = {name: value for name, value in changes.items() if not isinstance(value, list)}
    return Measurement(
        name="drawn",
        value=shown / pictures,
        unit="share",
        high=upper_bound(shown, pictures),
        interval="95 % bound",
        count=pictures,
        seeds=(seed, seed + pictures - 1),
        protocol=Protocol(subject="engine", detector=detector, settings=settings),
    )


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("pruneguard-demo/bundle"), show_default=True)
@click.option("--pictures", default=64, show_default=True)
@click.option("--seed", default=5000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(bundle: Path, pictures: int, seed: int, out: Path) -> None:
    """Draw every attempt for each concept of an atelier bundle and write the rates."""
    machine, opened = describe(), Bundle.open(bundle)
    opened.verify()
    results = {
        "concepts": {
            concept.name: plain(measure(opened, concept, pictures=pictures, seed=seed))
            for concept in bundle_concepts(opened)
        },
        "pictures": pictures,
        "command": " ".join(["python -m benchmarks.resurgence", *sys.argv[1:]]),
        **machine,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
