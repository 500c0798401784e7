"""`pruneguard audit`: measure suppression and preservation of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pruneguard.cli.options import bundle_option
from pruneguard.errors import AuditError

if TYPE_CHECKING:
    from pruneguard.bundle import Audit
    from pruneguard.measurement import Measurement


@click.command("audit", short_help="Measure suppression and preservation of a bundle.")
@bundle_option
@click.option("--subject", help="model, or an engine.  [default: every engine, or the model]")
@click.option("--detector", help="One for all concepts.  [default: as in training]")
@click.option(
    "--target",
    type=click.IntRange(min=1),
    help="Pictures whose prompts name a concept; fewer than before cannot replace a pass.",
)
@click.option("--implicit", type=click.IntRange(min=1), help="Pictures that call for it without its name.")
@click.option("--other", type=click.IntRange(min=0), help="Pictures that do not call for it.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of the first picture. With another one a failure is recorded, and a pass is not.",
)
@click.option("--teacher", metavar="MODEL", help="Who draws the control.  [default: the model it was made from]")
def command(bundle: Path, subject: str | None, detector: str | None, teacher: str | None, **given: Any) -> None:
    """Draw with a bundle's model or engine, measure how often its concepts show, and record it in the bundle.

    Options that are left out have the values of the training stage's audit. With other values the teacher draws a new
    control, which shows that the detector can see the concept.
    """
    from dataclasses import replace

    from pruneguard.bundle import MODEL, Bundle
    from pruneguard.runs.progress import RichProgress
    from pruneguard.stages.audit import audit_bundle, recorded_audit

    opened = Bundle.open(bundle)
    recorded, its_detector = recorded_audit(opened)
    settings = replace(recorded, **{name: value for name, value in given.items() if value is not None})
    reasons: dict[str, str] = {}
    refused: list[str] = []
    for name in [subject] if subject else list(opened.manifest.engines) or [MODEL]:
        with RichProgress() as progress:
            audits = audit_bundle(bundle, name, detector or its_detector, settings, progress, teacher=teacher)
        _print([each.record for each in audits], f"{name}, limit {settings.limit:.0%}, over {settings.covered.show()}")
        for each in audits:
            if each.objection:
                click.echo(f"{each.record.concept}: not recorded: {each.objection}")
            if not each.record.passed:
                reasons[each.record.concept] = each.record.judgement().reason
        if name != MODEL and any(not each.objection and not each.record.passed for each in audits):
            refused.append(name)
    if reasons:
        failed = "; ".join(f"{concept}: {reason}" for concept, reason in sorted(reasons.items()))
        follows = f"; the runtime refuses {', '.join(refused)} of {bundle} until it passes" if refused else ""
        raise AuditError(f"audit failed: {failed}{follows}")


def _print(audits: Sequence[Audit], title: str) -> None:
    """A table with a row for each measurement; each concept has a column for its audit and one for the control."""
    from rich.console import Console
    from rich.table import Column, Table

    from pruneguard.measurement import table

    columns: dict[str, Sequence[Measurement]] = {}
    for audit in audits:
        columns |= {audit.concept: audit.measurements, f"{audit.concept}, teacher": audit.control}
    names, cells = table(columns)
    shown = Table(Column("measured", no_wrap=True), *columns, title=title)
    for name, *values in zip(names[1:], *(row[1:] for row in cells), strict=True):
        shown.add_row(name, *values)
    Console().print(shown)
