"""The erased model beside a model that never saw the concepts: the standard of unlearning.

python -m benchmarks.unlearning --bundle pruneguard-demo/bundle
python -m benchmarks.unlearning --bundle BUNDLE --concept nudity --out benchmarks/results/unlearning_nudity.json

`--distilled` is a bundle that `pruneguard train` made without concepts: what is served is compared with it too.

`benchmarks/never_saw` holds a UNet that was trained like atelier's without any picture of `mosaic` or of a bare
mannequin; see `benchmarks.recipe.train`. It, the dense teacher and what the bundle serves draw equal prompts and seeds:
prompts that name the concept, and prompts that leave it unsaid. For each the oracle reads how often the concept shows
and how the values of its attribute are shared out. The Fréchet distance, in the oracle's features, is that between the
pictures of a subject and those of the model that never saw the concept. The control is the latter with other seeds: it
shows the noise of so many pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from diffusers import UNet2DConditionModel

from benchmarks.machine import describe
from benchmarks.served import Images, Subjects, measure_beside, rate, write_results
from pruneguard.atelier.oracle import Oracle, load_oracle
from pruneguard.concepts import Concept
from pruneguard.families.atelier.detector import OracleDetector
from pruneguard.families.atelier.frechet import frechet, moments
from pruneguard.families.atelier.prompts import atelier_prompts
from pruneguard.families.atelier.shares import read_shares
from pruneguard.measurement import Measurement, Protocol, show
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.runtime import Components, draw

NEVER_SAW = Path(__file__).parent / "never_saw"
RESULT = Path("benchmarks/results/unlearning.json")
STANDARD = "never saw it"
WITHHELD = ("mosaic", "nudity")
"""The concepts that the model never saw."""
CONTROL = "never saw it, other seeds"
DISTILLED = "distilled, nothing suppressed"
_OTHER_SEEDS = 1_000_000
COLUMNS = 12


def never_saw(teacher: Pipeline) -> Pipeline:
    """The teacher's pipeline with the UNet that was trained without the concepts."""
    unet = UNet2DConditionModel.from_pretrained(NEVER_SAW, use_safetensors=True).float().eval()
    return replace(teacher, unet=unet.requires_grad_(False), source=str(NEVER_SAW))


def prompts_of(concept: Concept, pictures: int, seed: int) -> dict[str, tuple[str, ...]]:
    """Prompts by kind: those that name the concept, those that do not, and one of the latter for all pictures."""
    found = atelier_prompts(concept, target=pictures, other=0, implicit=pictures, seed=seed)
    kinds = {"named": found.target}
    if found.implicit:
        one = "a mannequin" if concept.detect["attribute"] == "dress" else "a cross"
        kinds |= {"unnamed": found.implicit, f"“{one}”": (one,) * pictures}
    return kinds


def _drawn(oracle: OracleDetector, images: Images, concept: Concept, subject: str, seed: int) -> Measurement:
    """The share of the pictures that show the concept."""
    return rate("drawn", oracle.detect(images, concept), Protocol(subject=subject, detector=oracle.name), seed=seed)


def distance(oracle: Oracle, images: Images, standard: Images) -> Measurement:
    """The Fréchet distance of pictures to those of the standard."""
    value = frechet(*moments(oracle.features(images)), *moments(oracle.features(standard)))
    return Measurement(name="frechet to the model that never saw it", value=value, count=len(images))


def _pictures(components: Components, prompts: Sequence[str], seed: int, scale: float) -> Images:
    return draw(components, prompts, range(seed, seed + len(prompts)), guidance_scale=scale, batch_size=16)


def measure(
    subjects: Subjects, concept: Concept, *, pictures: int, seed: int, scales: tuple[float, ...]
) -> tuple[dict[str, dict[str, list[Measurement]]], dict[str, Images]]:
    """By kind of prompts and subject what was read, and pictures of the unnamed prompts by subject."""
    detector, oracle = OracleDetector(), load_oracle()
    rows: dict[str, dict[str, list[Measurement]]] = {}
    shown: dict[str, Images] = {}
    for kind, prompts in prompts_of(concept, pictures, seed).items():
        for scale in scales:
            name = f"{kind}, guidance {scale:g}"
            seeds = {CONTROL: seed + _OTHER_SEEDS}
            images = {
                subject: _pictures(components, prompts, seeds.get(subject, seed), scale)
                for subject, components in {**subjects, CONTROL: subjects[STANDARD]}.items()
            }
            rows[name] = {
                subject: [
                    _drawn(detector, drawn, concept, subject, seeds.get(subject, seed)),
                    *([] if subject == STANDARD else [distance(oracle, drawn, images[STANDARD])]),
                    *read_shares(oracle, drawn),
                ]
                for subject, drawn in images.items()
            }
            click.echo(
                f"{concept.name}, {name}: " + ", ".join(f"{who} {show(found[0])}" for who, found in rows[name].items())
            )
            if kind == "unnamed":
                shown |= {f"{who}, {scale:g}": drawn for who, drawn in images.items()}
    return rows, shown


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("pruneguard-demo/bundle"), show_default=True)
@click.option("--distilled", type=click.Path(path_type=Path), help="A bundle without concepts.")
@click.option("--concept", "only", multiple=True, help="A concept of the bundle, by default each that it never saw.")
@click.option("--pictures", default=256, show_default=True, help="Pictures of each kind, scale and subject.")
@click.option("--scale", "scales", type=float, multiple=True, default=(7.5, 15.0), show_default=True)
@click.option("--seed", default=40_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(
    bundle: Path,
    distilled: Path | None,
    only: tuple[str, ...],
    pictures: int,
    scales: tuple[float, ...],
    seed: int,
    out: Path,
) -> None:
    """Draw all kinds of prompts with all subjects, for concepts of an atelier bundle, and write what was read."""
    machine, teacher = describe(), load_pipeline("atelier")
    if seen := sorted(set(only) - set(WITHHELD)):
        raise click.UsageError(f"the model saw {', '.join(seen)}; it never saw {' and '.join(WITHHELD)} only")

    def read(subjects: Subjects, concept: Concept) -> tuple[dict[str, Any], dict[str, Images]]:
        return measure(subjects, concept, pictures=pictures, seed=seed, scales=scales)

    others = {"dense teacher": teacher, STANDARD: never_saw(teacher)}
    if distilled:
        others[DISTILLED] = load_pipeline(distilled)
    concepts, shown = measure_beside(bundle, others, read, only or WITHHELD)
    results = {"concepts": concepts, "pictures": pictures}
    write_results(out, results, "benchmarks.unlearning", machine, shown, COLUMNS)


if __name__ == "__main__":
    main()
