"""One registry for everything that plugs in: a name, the type of its settings, and what builds it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pruneguard.errors import ConfigError, nearest
from pruneguard.settings import Choice, convert

B = TypeVar("B", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The settings of an entry that has none."""


class Entry(NamedTuple, Generic[B]):
    """What is registered under one name; `build` is called by the registry's users as their contract says."""

    name: str
    settings: type[Any]
    build: B


class Registry(Generic[B]):
    """Entries of one kind by name. The modules of `packages` register themselves; they are imported on first use."""

    def __init__(self, kind: str, *, packages: Iterable[str] = ()) -> None:
        """`kind` is the word for an entry in messages, such as "eraser"."""
        self.kind = kind
        self._packages = list(packages)
        self._entries: dict[str, Entry[B]] = {}

    def register(self, name: str, *, settings: type[Any] = NoSettings) -> Callable[[B], B]:
        """A decorator that registers a function or class. Raises ConfigError for a name that is taken."""

        def add(build: B) -> B:
            if name in self._entries:
                raise ConfigError(f"{self.kind} {name!r} is registered twice; choose another name")
            self._entries[name] = Entry(name, settings, build)
            return build

        return add

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        self._discover()
        return tuple(sorted(self._entries))

    def find(self, name: str) -> Entry[B]:
        """The entry of that name. Raises ConfigError, which proposes the nearest names."""
        self._discover()
        if name not in self._entries:
            raise ConfigError(f"unknown {self.kind} {name!r}: {nearest(name, self.names())}")
        return self._entries[name]

    def settings(self, choice: Choice | str) -> Any:
        """The settings object of a choice. Raises ConfigError for an unknown name or option, or a wrong value."""
        chosen = Choice(choice) if isinstance(choice, str) else choice
        entry = self.find(chosen.name)
        return convert(chosen.options, entry.settings, f"{self.kind} {entry.name!r}")

    def remove(self, name: str) -> None:
        """Takes an entry out again, for programs that register one for a while."""
        self._entries.pop(name, None)

    def _discover(self) -> None:
        while self._packages:
            package = importlib.import_module(self._packages.pop())
            for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
                importlib.import_module(module.name)
