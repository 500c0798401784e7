"""`pruneguard generate`: one guarded picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pruneguard.cli.options import bundle_option
from pruneguard.errors import ConfigError
from pruneguard.staging import file_aside


@click.command("generate", short_help="Draw one guarded picture.")
@click.argument("prompt")
@bundle_option
@click.option("--engine", help="Name of an engine.  [default: one that passed]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("image.png"), show_default=True, help="The picture."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the picture.  [default: random, printed]")
@click.option("--steps", type=click.IntRange(1, 100), help="Sampling steps.  [default: the bundle's]")
@click.option("--guidance-scale", type=click.FloatRange(0, 30), help="CFG scale.  [default: the bundle's]")
@click.option("--negative-prompt", default="", help="What the picture should not look like.")
@click.option("--height", type=int, help="Pixels.  [default: the model's]")
@click.option("--width", type=int, help="Pixels.  [default: the model's]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the engine.")
@click.option("--digest", metavar="SHA256", help="Draw with this very bundle only.")
@click.option("--allow-unaudited", is_flag=True, help="Draw with a bundle whose policy names no concept.")
@click.option("--allow-unmeasured", is_flag=True, help="Draw in ways that no audit measured.")
def command(
    prompt: str,
    bundle: Path,
    engine: str | None,
    out: Path,
    seed: int | None,
    steps: int | None,
    guidance_scale: float | None,
    negative_prompt: str,
    height: int | None,
    width: int | None,
    threads: int | None,
    digest: str | None,
    allow_unaudited: bool,
    allow_unmeasured: bool,
) -> None:
    """Draw PROMPT with an engine of a bundle, behind its guards."""
    from rich.progress import Progress

    from pruneguard.runtime import GuardedSampler

    kind = _format(out)
    sampler = GuardedSampler.from_bundle(
        bundle,
        engine=engine,
        threads=threads,
        digest=digest,
        allow_unaudited=allow_unaudited,
        allow_unmeasured=allow_unmeasured,
    )
    with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("drawing")
        result = sampler(
            prompt,
            seed=seed,
            steps=steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            on_step=lambda step, total, _timestep: progress.update(task, completed=step + 1, total=total),
        )
    _save(result.images[0], out, kind)
    click.echo(f"{out}  seed {result.seeds[0]}  engine {sampler.engine}")
    if result.truncated[0]:
        click.echo("note: the prompt is longer than the text encoder reads; its end was left out", err=True)


def _format(out: Path) -> str:
    """The picture format of a file's ending. Raises BadParameter, before anything is drawn, for an unknown ending."""
    from PIL import Image

    Image.init()
    kind = Image.registered_extensions().get(out.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise click.BadParameter(f"{out.suffix!r} is not a picture format; try .png", param_hint="--out")
    return kind


def _save(image: Any, out: Path, kind: str) -> None:
    """Writes the whole picture, or leaves the earlier one. Raises ConfigError."""
    try:
        with file_aside(out) as aside:
            image.save(aside, format=kind)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"--out {out} cannot be written ({reason}); free space or choose another folder") from error
