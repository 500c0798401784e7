"""What a run was started with. Going on with something else is an error: it would be another model."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pruneguard.errors import ConfigError
from pruneguard.runs.aside import written_aside

FREE = {"free": True}
"""Metadata of a settings field that may change between two parts of one run."""


def free_settings(settings: Any, where: str) -> set[str]:
    """Dotted names below `where` of the fields of a settings dataclass, nested ones too, that are marked `FREE`."""
    names: set[str] = set()
    for entry in fields(settings):
        name, value = f"{where}.{entry.name}", getattr(settings, entry.name)
        if entry.metadata.get("free"):
            names.add(name)
        elif is_dataclass(value):
            names |= free_settings(value, name)
    return names


def check_record(run_folder: Path, made_from: Mapping[str, Any], *, begun: bool, free: Collection[str] = ()) -> None:
    """Writes what the run is made from into its folder, or compares it with what a run that has `begun` there wrote.

    A run has begun once it has a checkpoint: until then nothing of it is lost. `free` are dotted names that may differ.
    Raises ConfigError, which names the first value that differs, and both values.
    """
    path = run_folder / "record" / "run.json"
    now = dict(_leaves(json.loads(json.dumps(made_from)), ""))
    if not begun or not path.exists():
        with written_aside(path.parent, ConfigError, "run record") as aside:
            (aside / path.name).write_text(json.dumps(made_from, indent=2), encoding="utf-8")
        return
    try:
        before = dict(_leaves(json.loads(path.read_text(encoding="utf-8")), ""))
    except (OSError, ValueError) as error:
        raise ConfigError(f"run record {path} cannot be read ({error}); choose another run folder") from None
    for name in sorted(before.keys() | now.keys()):
        if name not in free and before.get(name) != now.get(name):
            raise ConfigError(
                f"run folder {run_folder} holds a run with {name} = {_brief(before.get(name))}, not "
                f"{_brief(now.get(name))}: set it back to go on with that run, or start afresh there (--fresh) or in "
                "another run folder (--out)"
            )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each value that is no table, by its dotted name."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))
