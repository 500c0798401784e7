"""`pruneguard audit`: measure suppression and preservation of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from pruneguard.cli.options import BUNDLE


@click.command("audit")
@click.option("--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True)
@click.option("--subject", type=click.Choice(["model", "onnx"]), help="What to measure; the engine if there is one.")
@click.option("--detector", default="auto", show_default=True, help="oracle, or clip:FOLDER_OR_HUB_ID.")
@click.option("--target", type=click.IntRange(min=1), default=64, show_default=True, help="Pictures that call for it.")
@click.option("--other", type=click.IntRange(min=0), default=96, show_default=True, help="Pictures that do not.")
@click.option("--limit", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Largest rate that passes.")
@click.option("--seed", type=click.IntRange(min=0), default=1000, show_default=True)
def command(bundle: Path, subject: str | None, detector: str, target: int, other: int, limit: float, seed: int) -> None:
    """Draw with a bundle's model or engine, count how often its concepts show, and record it in the bundle."""
    from rich.console import Console
    from rich.table import Table

    from pruneguard.bundle import Bundle
    from pruneguard.evaluation.audit import AuditSettings
    from pruneguard.stages.audit import audit_bundle
    from pruneguard.training import RichProgress

    subject = subject or ("onnx" if Bundle.open(bundle).weights("onnx") else "model")
    settings = AuditSettings(target=target, other=other, limit=limit, seed=seed)
    with RichProgress() as progress:
        results = audit_bundle(bundle, subject, detector, settings, progress)
    table = Table("concept", "drawn when asked for", "limit", "object kept", "style kept", "colour kept", title=subject)
    for result in results:
        kept = [f"{result.preserved[name]:.1%}" if result.preserved else "-" for name in ("object", "style", "colour")]
        table.add_row(result.concept, f"{result.target_rate:.1%}", f"{limit:.0%}", *kept)
    Console().print(table)
