"""`pruneguard verify`: digests, lineage and audits of a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path), default=Path("pruneguard-out"))
def command(bundle: Path) -> None:
    """Check that BUNDLE is what its stages wrote: every file, every digest, every audit its policy asks for."""
    from rich.console import Console
    from rich.table import Table

    from pruneguard.bundle import Bundle

    opened = Bundle.open(bundle)
    opened.verify()
    console = Console()
    manifest = opened.manifest
    console.print(f"[green]✓[/] {len(manifest.files)} files match {bundle / 'bundle.json'}, digest {opened.digest}")
    table = Table("stage", "settings", "measured", title="lineage")
    for stage in manifest.stages:
        table.add_row(stage.name, _brief(stage.settings), _brief(stage.metrics))
    console.print(table)
    audits = Table("concept", "subject", "target rate", "limit", "passed", title="audits")
    for audit in manifest.audits:
        audits.add_row(
            audit.concept, audit.subject, f"{audit.target_rate:.1%}", f"{audit.limit:.0%}", str(audit.passed)
        )
    console.print(audits)
    subject = "onnx" if any(name.startswith("onnx/") for name in manifest.files) else "model"
    opened.require_audits(subject)
    console.print(
        f"[green]✓[/] audited on its {subject} for: {', '.join(manifest.policy.get('concepts', [])) or 'nothing'}"
    )


def _brief(values: dict[str, object]) -> str:
    return "  ".join(f"{key}={value}" for key, value in values.items() if isinstance(value, int | float | str))
