"""Concepts in TOML files: the presets in this folder, and files that users write."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pruneguard.concepts.concept import Concept
from pruneguard.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent


def list_presets() -> tuple[str, ...]:
    """The names of the concepts that this package describes in TOML, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_preset(name: str) -> Concept:
    """The preset of that name. Raises ConfigError, which proposes the nearest names."""
    if name not in list_presets():
        raise ConfigError(f"unknown concept {name!r}: {nearest(name, list_presets())}")
    return read_concept(_FOLDER / f"{name}.toml")


def read_concept(path: Path) -> Concept:
    """The concept in a TOML file. Raises ConfigError, which names the file, the fault and the remedy."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"concept file {path} does not exist; give the path of a TOML file or a concept's name"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"concept file {path} cannot be read: {error.strerror}; check its path and permissions"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"concept file {path} is not valid TOML: {error}; correct it there") from None
    return Concept.from_dict(values, f"concept file {path}")
