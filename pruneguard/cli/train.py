"""`pruneguard train`: prune, then distil and suppress in one bilevel run."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pruneguard.cli.options import BUNDLE, Names, macs_line, model_options, read_settings, safety_note
from pruneguard.errors import AuditError

if TYPE_CHECKING:
    from pruneguard.bundle import Bundle


@click.command("train", short_help="Prune a model, distil it and suppress concepts.")
@click.option("--concepts", type=Names(), help="Names or TOML files, with commas.")
@click.option("--out", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="Bundle to write.")
@model_options
@click.option("--student", help="A pruned model; trained as it is.")
@click.option("--steps", type=click.IntRange(min=1), help="Lower steps, instead of the preset's.")
@click.option("--eraser", metavar="NAME", help="How to suppress: anchor, esd, ...")
@click.option("--schedule", metavar="NAME", help="How to combine: alternating, penalty, ...")
@click.option("--detector", help="What audits: oracle, clip:MODEL.")
@click.option("--fresh", is_flag=True, help="Forget the checkpoints of an earlier run.")
def command(out: Path, fresh: bool, config: Path | None, dry_run: bool, **options: Any) -> None:
    """Prune a model, then distil it from its teacher and suppress concepts in one run.

    After a stop, the same command goes on. An unknown --eraser or --schedule is answered with all names; their own
    options go into --config, as --dry-run shows them.
    """
    settings = read_settings(config, options)
    settings.load_concepts()
    if dry_run:
        click.echo(settings.to_toml(), nl=False)
        return
    from pruneguard.runs.processes import this_process
    from pruneguard.runs.progress import silent
    from pruneguard.stages.train import train_bundle
    from pruneguard.training import RichProgress

    process, had_engines = this_process(), (out / "engines").is_dir()
    with RichProgress() if process.is_main_process else nullcontext(silent) as progress:
        bundle, proved, _ = train_bundle(settings, out, progress, fresh=fresh)
    process.destroy_process_group()
    if process.is_main_process:
        if had_engines:
            click.echo(f"{out}: the engines of the model that was there before are gone with it")
        click.echo(f"trained {proved.show()}")
        _tell(bundle, out)


def _tell(bundle: Bundle, out: Path) -> None:
    from pruneguard.cli.audits import rates, space
    from pruneguard.measurement import show_value

    manifest = bundle.manifest
    click.echo(f"{out}: {macs_line(manifest.macs)}")
    if note := safety_note(manifest):
        click.echo(note)
    for audit in manifest.audits:
        passed = "passed" if audit.passed else "FAILED"
        limit = show_value(audit.limit, "share")
        drawn = rates(audit.measurements)
        click.echo(f"audit of the model: {audit.concept} drawn in {drawn}, bounds of at most {limit} pass: {passed}")
        click.echo(f"  control by the teacher: {rates(audit.control)}; over {space(audit)}")
    if failed := [f"{audit.concept}: {audit.judgement().reason}" for audit in manifest.audits if not audit.passed]:
        raise AuditError(
            f"{out} was written and its audit failed ({'; '.join(failed)}); the runtime will refuse it: train it with "
            "more --steps, or with more [proof] rounds"
        )
    if not manifest.policy.concepts:
        click.echo("note: no concept was named, so nothing was suppressed; the runtime serves it only on consent")
    audited = {audit.concept for audit in manifest.audits}
    if absent := [name for name in manifest.policy.concepts if name not in audited]:
        click.echo(
            f"no audit of {', '.join(absent)}: the runtime will refuse this bundle until `pruneguard audit --detector "
            "…` has measured it"
        )
    click.echo(f"next: pruneguard export --onnx --bundle {out}")
