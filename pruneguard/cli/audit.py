"""`pruneguard audit`: measure suppression and preservation of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pruneguard.cli.options import BUNDLE
from pruneguard.errors import LineageError


@click.command("audit")
@click.option("--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="The bundle.")
@click.option("--subject", type=click.Choice(["model", "onnx"]), help="What to measure; the engine if there is one.")
@click.option("--detector", help="oracle, or clip:FOLDER_OR_HUB_ID.")
@click.option("--target", type=click.IntRange(min=1), help="Pictures that call for it.")
@click.option("--other", type=click.IntRange(min=0), help="Pictures that do not.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the first picture.")
def command(bundle: Path, subject: str | None, detector: str | None, **given: Any) -> None:
    """Draw with a bundle's model or engine, count how often its concepts show, and record it in the bundle.

    What is not given is as the training stage audited.
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.table import Table

    from pruneguard.bundle import Bundle
    from pruneguard.evaluation.audit import PRESERVED
    from pruneguard.stages.audit import audit_bundle, recorded_audit
    from pruneguard.training import RichProgress

    opened = Bundle.open(bundle)
    subject = subject or ("onnx" if opened.weights("onnx") else "model")
    recorded, its_detector = recorded_audit(opened)
    settings = replace(recorded, **{name: value for name, value in given.items() if value is not None})
    with RichProgress() as progress:
        results, dropped = audit_bundle(bundle, subject, detector or its_detector, settings, progress)
    names = ("concept", "drawn when asked for", "at most (95 %)", "limit", *(f"{name} kept" for name in PRESERVED))
    table = Table(*names, title=subject)
    for result in results:
        shares = [result.preserved.get(name) for name in PRESERVED]
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        rates = (f"{result.target_rate:.1%}", f"{result.at_most:.1%}", f"{settings.limit:.0%}")
        table.add_row(result.concept, *rates, *cells)
    Console().print(table)
    for concept in dropped:
        click.echo(
            f"{concept}: shown and not recorded; what takes an earlier audit's place has its detector and seed, at "
            f"least as many pictures, and never fewer than {recorded.target} that call for the concept"
        )
    failed = [result.concept for result in results if result.target_rate > settings.limit]
    if failed:
        recorded_too = set(failed) - set(dropped)
        follows = f"; the runtime refuses {bundle} until it is trained again" if recorded_too else ""
        raise LineageError(f"{', '.join(failed)}: drawn too often{follows}")
