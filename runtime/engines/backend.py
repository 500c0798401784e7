"""Backends: what runs an exported component. One module each, which registers itself in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pruneguard.bundle import PrivateCopy, copy_folder
from pruneguard.errors import ConfigError
from pruneguard.registry import Registry

from ..sampling.settings import SamplerSettings
from ..sampling.tokens import ClipTokenizer
from .deadline import DEADLINE_S, check_deadline
from .engine import Components, Engine

COMPONENTS = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How engines are to run, in words that every backend understands.

    `provider` is the device, "cpu" or "cuda". `threads` is the number of threads inside one operator; None leaves the
    choice to the backend. A call that lasts longer than `deadline_s` seconds is stopped, by a backend that can.
    `own` are further options that only one backend knows.
    """

    provider: str = "cpu"
    threads: int | None = None
    deadline_s: float = DEADLINE_S
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise ConfigError(f"threads must be a whole number from 1, not {self.threads!r}")
        check_deadline(self.deadline_s)


class Backend(Protocol):
    """A library that runs exported components."""

    def usable(self, options: EngineOptions) -> str | None:
        """Why this machine cannot run engines with these options, in one line with the remedy; None if it can."""
        ...

    def open(self, files: PrivateCopy, component: str, options: EngineOptions) -> Engine:
        """Loads a component from the files of its folder, and from nothing else: they are what was verified.

        The copy ends when the load does. Raises BundleError for the files and ConfigError for the options.
        """
        ...


BACKENDS: Registry[Callable[[], Backend]] = Registry("engine backend", packages=("pruneguard.runtime.engines",))
"""Each entry builds its backend without arguments; that loads no library."""


def open_components(
    folder: Path, sampler: SamplerSettings, *, backend: str = "onnxruntime", options: EngineOptions | None = None
) -> Components:
    """The engines under `folder`, one folder for each of COMPONENTS, with the tokenizer in `folder`/tokenizer.

    No digest is checked. Raises ConfigError for an unknown backend or one that cannot run here, and BundleError.
    """
    chosen, options = BACKENDS.find(backend).build(), options or EngineOptions()
    if reason := chosen.usable(options):
        raise ConfigError(reason)
    tokenizer = ClipTokenizer.from_folder(folder / "tokenizer", sampler.text_tokens)
    engines: dict[str, Engine] = {}
    for name in COMPONENTS:
        with copy_folder(folder / name) as files:
            engines[name] = chosen.open(files, name, options)
    return Components(**engines, tokenizer=tokenizer, sampler=sampler, footprint=None)
