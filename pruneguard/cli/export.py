"""`pruneguard export`: engines with parity and audit."""

from __future__ import annotations

from pathlib import Path

import click

from pruneguard.cli.options import BUNDLE
from pruneguard.errors import LineageError


@click.command("export")
@click.option("--onnx", is_flag=True, help="ONNX graphs for ONNX Runtime.")
@click.option("--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="The bundle.")
@click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset, 20 to 23.")
@click.option("--detector", help="oracle, or clip:FOLDER_OR_HUB_ID; the training stage's when left out.")
def command(onnx: bool, bundle: Path, opset: int, detector: str | None) -> None:
    """Export a bundle's model, keep the engines only if they agree with it, and audit what will be served."""
    if not onnx:
        raise click.UsageError("say what to export: --onnx")
    from pruneguard.measurement import show
    from pruneguard.stages.export import export_bundle
    from pruneguard.training import RichProgress

    with RichProgress() as progress:
        opened, record, results = export_bundle(bundle, opset=opset, detector=detector, on_progress=progress)
    size = sum(record.files.values()) / 1e6
    click.echo(
        f"{bundle}/onnx: {size:.1f} MB, opset {record.opset}, agrees with the model ({bundle}/reports/parity.json)"
    )
    for result in results:
        click.echo(f"audit of the engine: {result.concept} drawn in {show(result.drawn)}")
    if not all(audit.passed for audit in opened.manifest.audits if audit.subject == "onnx"):
        raise LineageError(f"{bundle}: the engine failed its audit; the runtime refuses it until it is trained again")
    consent = "" if opened.manifest.policy_concepts else " --allow-unaudited"
    click.echo(f'next: pruneguard generate "a prompt" --bundle {bundle}{consent}')
