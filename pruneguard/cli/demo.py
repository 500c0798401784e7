"""`pruneguard demo`: all stages on the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("demo")
@click.option("--concepts", default="", help="What to suppress instead: any name of `pruneguard concepts`.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pruneguard-demo"),
    show_default=True,
    help="Folder of the report.",
)
@click.option("--steps", type=click.IntRange(min=2), help="Lower steps of each run; fewer for a quick look.")
@click.option(
    "--pictures", type=click.IntRange(min=8), help="Pictures of each kind in each audit; fewer for a quick look."
)
@click.option("--fresh", is_flag=True, help="Forget the checkpoints of an earlier demo.")
def command(concepts: str, out: Path, steps: int | None, pictures: int | None, fresh: bool) -> None:
    """Prune atelier, make it forget one style, export it, and measure every stage; minutes on two cores."""
    from rich.console import Console

    from pruneguard.stages.demo import CONCEPT, forget_runs, run_demo
    from pruneguard.training import RichProgress

    if fresh:
        forget_runs(out)
    with RichProgress() as progress:
        result = run_demo(out, concepts or CONCEPT, progress, steps=steps, pictures=pictures)
    console = Console()
    console.print(_audits(result.numbers))
    console.print(_speed(result.numbers))
    click.echo(_verdict(result.numbers))
    click.echo(f"{result.numbers['wall_s']:.0f} s   report: {result.report}   pictures: {result.grid}")
    if result.numbers["passed"]:
        click.echo(f'next: pruneguard generate "a red star in flat style" --bundle {out / "bundle"}')
    else:
        click.echo("next: the same with more --steps; the runtime refuses this bundle")


def _verdict(numbers: dict[str, Any]) -> str:
    rates = f"{numbers['erased']['target_rate']:.1%} by the model, {numbers['engine']['target_rate']:.1%} by the engine"
    verdict = "passed" if numbers["passed"] else click.style("FAILED", fg="red", bold=True)
    return f"audit {verdict}: “{numbers['concept']}” drawn in {rates}, limit {numbers['limit']:.0%}"


def _audits(numbers: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("", f"“{numbers['concept']}” drawn", "object kept", "style kept", "colour kept", "rest of its prompt")
    for name in ("teacher", "distilled", "erased", "engine"):
        kept = [f"{numbers[name]['preserved'][attribute]:.1%}" for attribute in ("object", "style", "colour")]
        rest = " ".join(f"{word} {value:.0%}" for word, value in numbers[name]["target_preserved"].items())
        table.add_row(name, f"{numbers[name]['target_rate']:.1%}", *kept, rest)
    return table


def _speed(numbers: dict[str, Any]) -> Any:
    from rich.table import Table

    latency, macs = numbers["latency"], numbers["unet_macs"]
    table = Table("", "dense", "erased", "ratio")
    table.add_row("UNet MACs (G)", f"{macs['dense'] / 1e9:.3f}", f"{macs['erased'] / 1e9:.3f}", f"{macs['ratio']:.3f}")
    ratio = latency["erased_to_dense"][0]
    table.add_row("guided UNet call (ms)", f"{latency['dense_ms']:.1f}", f"{latency['erased_ms']:.1f}", f"{ratio:.3f}")
    pair = (f"{latency['diffusers_image_ms']:.0f}", f"{latency['engine_image_ms']:.0f}")
    table.add_row("image: diffusers, engine (ms)", *pair, f"{latency['engine_to_diffusers'][0]:.3f}")
    table.add_row(
        "erased to pruned UNet",
        f"{latency['pruned_ms']:.1f}",
        f"{latency['erased_ms']:.1f}",
        f"{latency['erased_to_pruned'][0]:.3f}",
    )
    return table
