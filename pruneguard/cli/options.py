"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pruneguard.stages.settings import RunSettings

F = TypeVar("F", bound=Callable[..., Any])

BUNDLE = Path("pruneguard-out")


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """`a, b` as ("a", "b")."""
        if isinstance(value, tuple):
            return value
        return tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))


def model_options(function: F) -> F:
    """What to prune, from which data, and how far."""
    for option in reversed(
        (
            click.option("--model", help="atelier, a folder, a bundle, or a hub id.  [default: atelier]"),
            click.option("--data", help="atelier, synthetic, coco, or a folder with metadata.jsonl."),
            click.option("--captions", help="Captions for synthetic data, or COCO's annotations."),
            click.option("--images", help="COCO's folder of pictures."),
            click.option(
                "--budget",
                type=click.FloatRange(0, 1, min_open=True),
                help="Share of the MACs to keep.  [default: 0.58]",
            ),
            click.option("--criterion", help="taylor or magnitude.  [default: taylor]"),
            click.option("--seed", type=click.IntRange(min=0), help="Seed of data, search and training.  [default: 0]"),
            click.option("--config", type=click.Path(path_type=Path), help="TOML with these and any other settings."),
            click.option("--dry-run", is_flag=True, help="Print all settings as such a file, and stop."),
        )
    ):
        function = option(function)
    return function


_PLACES = {
    "model": ("model",),
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
}


def read_settings(config: Path | None, options: Mapping[str, Any]) -> RunSettings:
    """The configuration file's settings with the options that were given on top.

    Raises ConfigError, which names the file where the file alone is wrong.
    """
    from pruneguard.errors import ConfigError
    from pruneguard.stages.settings import RunSettings, read_tables

    tables = read_tables(config)
    model = options.get("model") or tables.pop("model", "atelier")
    if config:
        try:
            RunSettings.resolve(model, tables)
        except ConfigError as error:
            raise ConfigError(f"--config {config}: {error}") from None
    for option, (*path, name) in _PLACES.items():
        if options.get(option) not in (None, ()):
            table = tables
            for part in path:
                table = table.setdefault(part, {})
            table[name] = options[option]
    return RunSettings.resolve(model, {**tables, "model": model})


def macs_line(macs: dict[str, Any]) -> str:
    """What stays of the dense UNet, in words."""
    return f"{macs['ratio']:.1%} of the dense UNet's MACs, {macs['pruned'] / 1e9:.3f} of {macs['dense'] / 1e9:.3f} G"
