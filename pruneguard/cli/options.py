"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pruneguard.bundle import Manifest
    from pruneguard.stages.settings import RunSettings

F = TypeVar("F", bound=Callable[..., Any])

BUNDLE = Path("pruneguard-out")


bundle_option: Callable[[F], F] = click.option(
    "--bundle", type=click.Path(path_type=Path), default=BUNDLE, show_default=True, help="The bundle."
)


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """`a, b` as ("a", "b"). An empty text, such as an unset variable of a shell, is an error."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        if not names:
            self.fail("it names nothing; give at least one name, or leave the option out", param, ctx)
        return names


def model_options(function: F) -> F:
    """What to prune, from which data, and how far."""
    for option in reversed(
        (
            click.option("--model", help="atelier, a folder, a bundle or a hub id."),
            click.option("--revision", metavar="COMMIT", help="Commit, branch or tag of a hub id."),
            click.option("--keep-safety-checker", is_flag=True, default=None, help="Copy the model's into the bundle."),
            click.option("--scheduler", metavar="NAME", help="Draw with pndm, whatever the model came with."),
            click.option("--data", help="A data source, or a folder with metadata.jsonl."),
            click.option("--captions", help="Captions, or COCO's annotations."),
            click.option("--images", help="COCO's folder of pictures."),
            click.option("--budget", type=click.FloatRange(0, 1, min_open=True), help="Share of MACs to keep."),
            click.option("--criterion", help="What scores the weights: taylor, magnitude."),
            click.option("--seed", type=click.IntRange(min=0), help="Of data, search and training."),
            click.option("--config", type=click.Path(path_type=Path), help="TOML with any of the settings."),
            click.option("--dry-run", is_flag=True, help="Print all settings as TOML, and stop."),
        )
    ):
        function = option(function)
    return function


_PLACES = {
    "model": ("model",),
    "revision": ("revision",),
    "keep_safety_checker": ("keep_safety_checker",),
    "scheduler": ("scheduler",),
    "student": ("student",),
    "concepts": ("concepts",),
    "detector": ("detector",),
    "data": ("data", "source"),
    "captions": ("data", "captions"),
    "images": ("data", "images"),
    "budget": ("prune", "budget"),
    "criterion": ("prune", "criterion"),
    "seed": ("training", "seed"),
    "steps": ("training", "steps"),
    "eraser": ("training", "erasure", "eraser"),
    "schedule": ("training", "schedule"),
}


def read_settings(config: Path | None, options: Mapping[str, Any]) -> RunSettings:
    """The configuration file's settings, changed by the options that were given.

    Raises ConfigError, which names the file if the fault lies there.
    """
    from pruneguard.errors import ConfigError
    from pruneguard.settings import override
    from pruneguard.stages.settings import RunSettings, read_tables

    tables = read_tables(config)
    model = options.get("model") or tables.pop("model", "atelier")
    try:
        settings = RunSettings.resolve(model, tables)
    except ConfigError as error:
        if not config:
            raise
        raise ConfigError(f"--config {config}: {error}") from None
    # Options change the file's settings one by one: an eraser that is named again keeps the file's options for it.
    changes: dict[str, Any] = {}
    for option, (*path, name) in _PLACES.items():
        if option != "model" and options.get(option) not in (None, ()):
            table = changes
            for part in path:
                table = table.setdefault(part, {})
            table[name] = options[option]
    return override(settings, changes)


def macs_line(macs: dict[str, Any]) -> str:
    """The share of the dense UNet's MACs that is left, in words."""
    return f"{macs['ratio']:.1%} of the dense UNet's MACs, {macs['pruned'] / 1e9:.3f} of {macs['dense'] / 1e9:.3f} G"


def safety_note(manifest: Manifest) -> str | None:
    """What became of the teacher's safety checker, in words; None if it had none."""
    said = {
        "left out": "note: the model's safety checker was left out; --keep-safety-checker copies it into the bundle",
        "kept": "note: the safety checker lies in model/safety_checker, for diffusers; the runtime does not use it",
    }
    return next(
        (said[fate] for stage in manifest.stages if (fate := stage.settings.get("safety_checker")) in said), None
    )
