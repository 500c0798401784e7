"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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
            click.option("--model", default="atelier", show_default=True, help="atelier, a folder, or a hub id."),
            click.option("--data", help="atelier, synthetic, coco, or a folder with metadata.jsonl."),
            click.option("--captions", help="Captions for synthetic data, or COCO's annotations."),
            click.option("--images", help="COCO's folder of pictures."),
            click.option(
                "--budget", type=click.FloatRange(0, 1, min_open=True), help="MACs that stay.  [default: 0.58]"
            ),
            click.option("--criterion", help="taylor or magnitude.  [default: taylor]"),
            click.option("--seed", type=click.IntRange(min=0), help="Seed of everything.  [default: 0]"),
            click.option("--config", type=click.Path(path_type=Path), help="TOML with any other setting."),
            click.option("--dry-run", is_flag=True, help="Print the resolved settings and stop."),
        )
    ):
        function = option(function)
    return function


def tables_of(config: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration file's tables with the options that were given on top."""
    from pruneguard.stages.settings import read_tables

    tables = read_tables(config)
    places = {
        "data": ("data", "source"),
        "captions": ("data", "captions"),
        "images": ("data", "images"),
        "budget": ("prune", "budget"),
        "criterion": ("prune", "criterion"),
        "seed": ("training", "seed"),
        "steps": ("training", "steps"),
    }
    for option, (table, field) in places.items():
        if options.get(option) is not None:
            tables.setdefault(table, {})[field] = options[option]
    return tables


def macs_line(macs: dict[str, Any]) -> str:
    """What stays of the dense UNet, in words."""
    return f"{macs['ratio']:.1%} of the dense UNet's MACs, {macs['pruned'] / 1e9:.3f} of {macs['dense'] / 1e9:.3f} G"
