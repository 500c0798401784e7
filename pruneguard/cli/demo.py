"""`pruneguard demo`: all stages on the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("demo", short_help="Run all stages on the embedded model and report them.")
@click.option("--concepts", default="", help="One name of `pruneguard concepts`.  [default: mosaic]")
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
    """Prune atelier, make it forget one style, export it, and measure every stage. It takes minutes on two cores."""
    from rich.console import Console

    from pruneguard.runs.progress import RichProgress
    from pruneguard.stages.demo import CONCEPT, forget_runs, run_demo

    if fresh:
        forget_runs(out)
    with RichProgress() as progress:
        result = run_demo(out, concepts or CONCEPT, progress, steps=steps, pictures=pictures)
    console = Console()
    for shown in (_audits(result.numbers), _speed(result.numbers)):
        console.print(shown)
    click.echo(_verdict(result.numbers))
    click.echo(f"{result.numbers['wall_s']:.0f} s   report: {result.report}   pictures: {result.grid}")
    if result.numbers["passed"]:
        click.echo(f'next: pruneguard generate "a red star in flat style" --bundle {out / "bundle"}')
    else:
        click.echo("next: run it again with more --steps; the runtime refuses this bundle")


def _verdict(numbers: dict[str, Any]) -> str:
    from pruneguard.cli.audits import rates
    from pruneguard.measurement import read_measurements

    teacher, model, engine = (
        rates(read_measurements(numbers["audits"][name])) for name in ("teacher", "erased", "engine")
    )
    verdict = "passed" if numbers["passed"] else click.style("FAILED", fg="red", bold=True)
    drawn = f"{model} by the model; {engine} by the engine; control by the teacher {teacher}"
    return f"audit {verdict}: “{numbers['concept']}” drawn in {drawn}; limit {numbers['limit']:.0%}"


def _audits(numbers: dict[str, Any]) -> Any:
    """A table with a row a model and a column a measurement."""
    from rich.table import Column, Table

    from pruneguard.measurement import read_measurements, table

    header, rows = table({name: read_measurements(entries) for name, entries in numbers["audits"].items()})
    shown = Table(Column("", no_wrap=True), *header[1:], title=f"audits of “{numbers['concept']}”")
    for row in rows:
        shown.add_row(*row)
    return shown


def _speed(numbers: dict[str, Any]) -> Any:
    """A table of MACs and latency."""
    from rich.table import Table

    from pruneguard.measurement import read_measurements, show, show_value

    macs = numbers["unet_macs"]
    shown = Table("", "median (quartiles)", title=f"speed on {numbers['latency']['threads']} threads")
    shown.add_row("UNet MACs, dense", show_value(macs["dense"], "MACs"))
    shown.add_row("UNet MACs, erased", f"{show_value(macs['erased'], 'MACs')}, ratio {macs['ratio']:.3f}")
    for entry in read_measurements(numbers["latency"]["measurements"]):
        shown.add_row(entry.name.replace("/", ": "), show(entry))
    return shown
