"""`pruneguard verify`: digests, lineage and audits of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from pruneguard.cli.options import BUNDLE


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path), default=BUNDLE)
@click.option("--digest", metavar="SHA256", help="The digest that it must have.")
def command(bundle: Path, digest: str | None) -> None:
    """Check that BUNDLE is what its stages wrote: every file, every digest, every audit its policy asks for.

    The digest that it prints pins the bundle: `pruneguard generate --digest` takes no other.
    """
    from rich.console import Console
    from rich.table import Table

    from pruneguard.bundle import Bundle

    opened = Bundle.open(bundle, digest=digest)
    opened.verify()
    manifest = opened.manifest
    click.echo(f"{_tick()} {len(manifest.files)} files match {bundle / 'bundle.json'}")
    click.echo(f"digest {opened.digest}")
    console = Console()
    lineage = Table("stage", "settings", "measured", title="lineage")
    for stage in manifest.stages:
        lineage.add_row(_shown(stage.name), _brief(stage.settings), _brief(stage.metrics))
    console.print(lineage)
    audits = Table("concept", "subject", "target rate", "limit", "passed", "of", "seen by", title="audits")
    for audit in manifest.audits:
        rate, limit = f"{audit.target_rate:.1%}", f"{audit.limit:.0%}"
        row = (rate, limit, str(audit.passed), str(audit.target_images), _shown(audit.detector))
        audits.add_row(_shown(audit.concept), audit.subject, *row)
    console.print(audits)
    subject = "onnx" if opened.weights("onnx") else "model"
    opened.require_audits(subject)
    if concepts := ", ".join(map(repr, manifest.policy_concepts)):
        click.echo(f"{_tick()} audited on its {subject} for: {concepts}")
    else:
        click.echo("note: its policy names no concept, so nothing was audited; the runtime serves it only on consent")


def _tick() -> str:
    return click.style("✓", fg="green")


def _brief(values: dict[str, object]) -> str:
    return "  ".join(
        f"{_shown(key)}={_shown(str(value))}" for key, value in values.items() if isinstance(value, int | float | str)
    )


def _shown(text: str) -> str:
    """A text of the manifest as it is: neither rich's markup nor the terminal's control codes in it take effect."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))
