"""`pruneguard generate`: one guarded picture."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("generate")
@click.argument("prompt")
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("pruneguard-out"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("image.png"), show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="The picture's seed; random and printed when left out.")
@click.option("--steps", type=click.IntRange(1, 100), help="Sampling steps; the bundle's own when left out.")
@click.option("--guidance-scale", type=click.FloatRange(0, 30), help="CFG scale; the bundle's own when left out.")
@click.option("--negative-prompt", default="", help="What the picture should not look like.")
@click.option("--height", type=int, help="Pixels; the model's own when left out.")
@click.option("--width", type=int, help="Pixels; the model's own when left out.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the engine.")
def command(
    prompt: str,
    bundle: Path,
    out: Path,
    seed: int | None,
    steps: int | None,
    guidance_scale: float | None,
    negative_prompt: str,
    height: int | None,
    width: int | None,
    threads: int | None,
) -> None:
    """Draw PROMPT with the engines of a bundle, behind its guards."""
    from rich.progress import Progress

    from pruneguard.runtime import GuardedSampler

    sampler = GuardedSampler.from_bundle(bundle, threads=threads)
    with Progress(transient=True) as progress:
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
    aside = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        result.images[0].save(aside, format=out.suffix.lstrip(".").replace("jpg", "jpeg") or "png")
        aside.replace(out)
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{out.suffix!r} is not a picture format; try .png", param_hint="--out") from error
    finally:
        aside.unlink(missing_ok=True)
    click.echo(f"{out}  seed {result.seeds[0]}")
    if result.truncated[0]:
        click.echo("note: the prompt is longer than the text encoder reads; its end was left out", err=True)
