"""`pruneguard verify`: digests, lineage and audits of a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pruneguard.cli.options import bundle_option
from pruneguard.cli.printable import printable

if TYPE_CHECKING:
    from pruneguard.bundle import Manifest

_PIPED = 200
"""Columns of the tables in a file or a pipe, which do not say how wide they are."""


@click.command("verify", short_help="Check digests, lineage and audits.")
@bundle_option
@click.option("--digest", metavar="SHA256", help="The digest that it must have.")
def command(bundle: Path, digest: str | None) -> None:
    """Check that a bundle is what its stages wrote: every file, every digest, every audit that its policy asks for.

    The digest that it prints pins the bundle: `pruneguard generate --digest` takes no other.
    """
    from rich.console import Console

    from pruneguard.bundle import MODEL, Bundle

    opened = Bundle.open(bundle, digest=digest)
    opened.verify()
    manifest = opened.manifest
    click.echo(f"{_tick()} {len(manifest.files)} files match {bundle / 'bundle.json'}")
    click.echo(f"digest {opened.digest}")
    console = Console(width=None if sys.stdout.isatty() else _PIPED)
    console.print(_lineage(manifest))
    if manifest.engines:
        console.print(_engines(manifest))
    console.print(_audits(manifest))
    subjects = list(manifest.engines) or [MODEL]
    for subject in subjects:
        opened.require_audits(subject)
    if concepts := ", ".join(map(repr, manifest.policy.concepts)):
        click.echo(f"{_tick()} audited for {concepts}: {', '.join(subjects)}")
    else:
        click.echo("note: its policy names no concept, so nothing was audited; the runtime serves it only on consent")


def _lineage(manifest: Manifest) -> Any:
    from rich.table import Table

    from pruneguard.measurement import show

    table = Table("stage", "settings", "measured", title="lineage")
    for stage in manifest.stages:
        shown = (f"{entry.name} {show(entry)}" for entry in stage.measurements)
        table.add_row(_shown(stage.name), _brief(stage.settings), _shown(", ".join(shown)))
    return table


def _engines(manifest: Manifest) -> Any:
    from rich.table import Table

    from pruneguard.measurement import show

    table = Table("engine", "target", "precision", "backend", "agrees with the model to", title="engines")
    for name, engine in manifest.engines.items():
        parity = ", ".join(f"{entry.name.removeprefix('parity/')} {show(entry)}" for entry in engine.parity)
        cells = (name, engine.target, engine.precision, f"{engine.backend} on {engine.provider}", parity)
        table.add_row(*map(_shown, cells))
    return table


def _audits(manifest: Manifest) -> Any:
    from rich.table import Table

    from pruneguard.cli.audits import rates, space
    from pruneguard.measurement import show_value

    table = Table(
        *("concept", "subject", "drawn", "by the teacher", "limit", "audit", "pictures", "detector", "space"),
        title="audits",
    )
    for audit in manifest.audits:
        drawn = audit.drawn
        limit, status = show_value(audit.limit, "share"), audit.judgement().status if audit.passed else "FAILED"
        shown, control = rates(audit.measurements), rates(audit.control)
        number, detector = str(drawn.count), drawn.protocol.detector
        cells = (audit.concept, audit.subject, shown, control, limit, status, number, detector, space(audit))
        table.add_row(*map(_shown, cells))
    return table


def _tick() -> str:
    return click.style("✓", fg="green")


def _brief(values: dict[str, Any]) -> str:
    """The settings that are single values."""
    single = {name: value for name, value in values.items() if isinstance(value, int | float | str)}
    return "  ".join(f"{_shown(name)}={_shown(str(value))}" for name, value in single.items())


def _shown(text: str) -> str:
    """A text of the manifest without effect on the terminal: no markup of rich, no control codes."""
    from rich.markup import escape

    return escape(printable(text))
