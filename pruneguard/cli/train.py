"""`pruneguard train`: prune, then distil and suppress in one bilevel run."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pruneguard.cli.options import BUNDLE, Names, macs_line, model_options, tables_of

if TYPE_CHECKING:
    from pruneguard.bundle import Bundle


@click.command("train")
@click.option(
    "--concepts", type=Names(), default="", help="What to suppress, by name or TOML file, with commas between."
)
@click.option("--out", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="The bundle to write.")
@model_options
@click.option("--student", help="A model that was pruned before; it is trained as it is.")
@click.option("--steps", type=click.IntRange(min=1), help="Lower steps; the preset's own when left out.")
@click.option("--detector", default="auto", show_default=True, help="oracle, or clip:FOLDER_OR_HUB_ID.")
@click.option("--fresh", is_flag=True, help="Forget the checkpoints of an earlier run.")
def command(
    concepts: tuple[str, ...],
    out: Path,
    model: str,
    student: str | None,
    detector: str,
    fresh: bool,
    config: Path | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Prune a model and make it forget CONCEPTS while it learns from its teacher; run again to go on after a stop."""
    from pruneguard.stages.settings import RunSettings

    tables = tables_of(config, options)
    settings = RunSettings.resolve(model, tables, student=student, concepts=concepts, detector=detector)
    settings.load_concepts()
    if dry_run:
        click.echo(json.dumps(settings.to_dict(), indent=2))
        return
    from pruneguard.stages.train import train_bundle
    from pruneguard.training import RichProgress
    from pruneguard.training.processes import this_process
    from pruneguard.training.progress import silent

    process = this_process()
    with RichProgress() if process.is_main_process else nullcontext(silent) as progress:
        bundle, _, _ = train_bundle(settings, out, progress, fresh=fresh)
    if process.is_main_process:
        _tell(bundle, out, concepts)
    process.destroy_process_group()


def _tell(bundle: Bundle, out: Path, concepts: tuple[str, ...]) -> None:
    click.echo(f"{out}: {macs_line(bundle.manifest.macs)}")
    for audit in bundle.manifest.audits:
        verdict = "passed" if audit.passed else "FAILED"
        click.echo(
            f"audit of the model: {audit.concept} drawn in {audit.target_rate:.1%} (limit {audit.limit:.0%}), {verdict}"
        )
    if concepts and not bundle.manifest.audits:
        click.echo(
            "no audit: the runtime will refuse this bundle until `pruneguard audit --detector …` has measured it"
        )
    click.echo(f"next: pruneguard export --onnx --bundle {out}")
