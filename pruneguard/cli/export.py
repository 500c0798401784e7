"""`pruneguard export`: engines with parity and audit."""

from __future__ import annotations

from pathlib import Path

import click

from pruneguard.cli.options import bundle_option
from pruneguard.errors import AuditError


@click.command("export", short_help="Make engines, compare them with the model, audit them.")
@click.option("--onnx", is_flag=True, help="The same as --target onnx.")
@click.option("--target", metavar="NAME", help="What to export to, such as onnx.")
@bundle_option
@click.option("--name", help="Name of the engine in the bundle.  [default: onnx-fp32]")
@click.option("--opset", type=int, help="ONNX opset, 20 to 23.  [default: 20]")
@click.option("--detector", help="oracle, or clip:FOLDER_OR_HUB_ID; as in training by default.")
def command(
    onnx: bool, target: str | None, bundle: Path, name: str | None, opset: int | None, detector: str | None
) -> None:
    """Export a bundle's model, keep the engine only if it agrees with the model, and audit what will be served."""
    if onnx == bool(target):
        raise click.UsageError("say what to export: --onnx, or --target NAME")
    from pruneguard.bundle import MODEL, Bundle
    from pruneguard.measurement import show
    from pruneguard.runs.progress import RichProgress
    from pruneguard.settings import Choice
    from pruneguard.stages.export import export_bundle

    for audit in Bundle.open(bundle).manifest.audits:
        if audit.subject == MODEL and not audit.passed:
            click.echo(
                f"note: the model failed its audit of {audit.concept}, so an engine of it will most likely fail too"
            )
    with RichProgress() as progress:
        chosen = Choice(target or "onnx", {} if opset is None else {"opset": opset})
        done = export_bundle(bundle, target=chosen, name=name, detector=detector, on_progress=progress)
    manifest = done.bundle.manifest
    size = sum(manifest.files[path].size for path in done.bundle.digests(done.name))
    click.echo(f"{bundle}/engines/{done.name}: {size / 1e6:.1f} MB")
    for entry in done.engine.parity:
        click.echo(f"  {entry.name.replace('/', ' ')}: {show(entry)}")
    for each in done.audits:
        click.echo(f"audit of {done.name}: {each.record.concept} drawn in {show(each.record.drawn)}")
        if each.objection:
            click.echo(f"{each.record.concept}: measured and not recorded: {each.objection}")
    audits = [audit for audit in manifest.audits if audit.subject == done.name and not audit.passed]
    if failed := [f"{audit.concept}: {audit.judgement().reason}" for audit in audits]:
        raise AuditError(f"{bundle}: {done.name} failed its audit ({'; '.join(failed)}); the runtime refuses it")
    consent = "" if manifest.policy.concepts else " --allow-unaudited"
    click.echo(f'next: pruneguard generate "a prompt" --bundle {bundle}{consent}')
