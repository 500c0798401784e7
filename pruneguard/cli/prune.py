"""`pruneguard prune`: prune only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pruneguard.cli.options import BUNDLE, macs_line, model_options, read_settings, safety_note


@click.command("prune", short_help="Prune a model to a MAC budget.")
@click.option("--out", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="Bundle to write.")
@model_options
def command(out: Path, config: Path | None, dry_run: bool, **options: Any) -> None:
    """Prune a model to a MAC budget; it draws badly until it is trained."""
    settings = read_settings(config, options)
    if dry_run:
        click.echo(settings.to_toml(), nl=False)
        return
    from pruneguard.stages.train import prune_bundle
    from pruneguard.training import RichProgress

    with RichProgress() as progress:
        bundle = prune_bundle(settings, out, progress)
    click.echo(f"{out}: {macs_line(bundle.manifest.macs)}")
    if note := safety_note(bundle.manifest):
        click.echo(note)
    click.echo(f"next: pruneguard train --model {settings.model} --student {out} --out {out}-erased --concepts …")
