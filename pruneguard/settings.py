"""Settings as dataclasses: read from plain values by msgspec, changed by tables, written as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from pruneguard.errors import ConfigError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """One entry of a registry and its options. In TOML it is a name, or a table with `name` and the options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, value: Any, where: str) -> Choice:
        """The choice that a table's value asks for. Another name drops the options of this one. Raises ConfigError."""
        given = {"name": value} if isinstance(value, str) else value
        if isinstance(given, Choice):
            return given
        if not isinstance(given, Mapping) or not isinstance(given.get("name", self.name), str):
            raise ConfigError(f"{where}: {value!r} is neither a name nor a table with `name` and options")
        name = given.get("name", self.name)
        kept = self.options if name == self.name else {}
        return Choice(name, {**kept, **{key: entry for key, entry in given.items() if key != "name"}})


def require(holds: bool, where: str, message: str) -> None:
    """Raises ConfigError, which names the table `where`, for a value that does not hold."""
    if not holds:
        raise ConfigError(f"{where}: {message}")


def convert(values: Mapping[str, Any], kind: type[T], where: str) -> T:
    """A dataclass from plain values. Raises ConfigError for an unknown field, a missing one or a wrong type."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}; it must be a table")
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ConfigError(f"{where}: unknown setting {name!r}: {nearest(name, known)}")
    try:
        return msgspec.convert(dict(values), kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_plainly(error, kind)}") from None


def override(settings: T, values: Mapping[str, Any], where: str = "") -> T:
    """The settings with the fields that `values` names; nested tables change field by field. Raises ConfigError.

    `where` is the table's name in messages; it is empty for the outermost one.
    """
    changes: dict[str, Any] = {}
    known = [entry.name for entry in fields(settings)]  # type: ignore[arg-type]
    for name, value in values.items():
        inner = f"{where}.{name}" if where else name
        if name not in known:
            raise ConfigError(f"{where or 'configuration'}: unknown setting {name!r}: {nearest(name, known)}")
        current = getattr(settings, name)
        if isinstance(current, Choice):
            changes[name] = current.changed(value, inner)
        elif is_dataclass(current) and not isinstance(value, type(current)):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name!r} is {value!r}; it must be a table, [{inner}]")
            changes[name] = override(current, value, inner)
        else:
            changes[name] = value
    current_values = {name: getattr(settings, name) for name in known}
    try:
        return msgspec.convert(
            {**current_values, **changes}, type(settings), strict=True, from_attributes=True, builtin_types=None
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where or 'configuration'}: {_plainly(error, type(settings))}") from None


def plain(value: Any) -> Any:
    """The value as JSON and TOML carry it: tables, lists, texts and numbers. A choice is one flat table."""
    if isinstance(value, Choice):
        return {"name": value.name, **plain(value.options)}
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.structs.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _plainly(error: msgspec.ValidationError, kind: type[Any]) -> str:
    """msgspec's message with the path in front, and the words that a field of fixed words takes.

    "`lr`: Expected `float`, got `str`"; "`precision`: Invalid enum value 'fp16'; choose from no, bf16".
    """
    text, _, path = str(error).partition(" - at `$")
    text = text.replace("Object missing required field", "it lacks the required field")
    path = path.rstrip("`").lstrip(".")
    hint = get_type_hints(kind).get(path)
    if get_origin(hint) is Literal:
        text += f"; choose from {', '.join(map(str, get_args(hint)))}"
    return f"`{path}`: {text}" if path else text
