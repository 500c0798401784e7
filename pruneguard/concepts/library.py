"""Finding a concept: by name in a family, or in a TOML file of the user's own."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pruneguard.concepts.concept import Concept
from pruneguard.errors import ConfigError
from pruneguard.families.atelier.concepts import atelier_concept, atelier_names

Family = Literal["atelier", "general"]
_FOLDER = Path(__file__).parent


def list_concepts(family: Family) -> tuple[str, ...]:
    """Names that `load_concept` knows in a family."""
    if family == "atelier":
        return atelier_names()
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_concept(name_or_path: str | Path, *, family: Family) -> Concept:
    """The concept of that name, or the one in that TOML file; ConfigError says what is wrong with either."""
    given = str(name_or_path)
    if given.endswith(".toml") or "/" in given:
        return _read(Path(given))
    known = list_concepts(family)
    name = given.strip().lower().replace("_", "-").replace(" ", "-")
    if name not in known:
        close = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        raise ConfigError(
            f"no concept {given!r} for {family} models: {hint}known are {', '.join(known)}; "
            "or give the path of a TOML file"
        )
    return atelier_concept(name) if family == "atelier" else _read(_FOLDER / f"{name}.toml")


def _read(path: Path) -> Concept:
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
