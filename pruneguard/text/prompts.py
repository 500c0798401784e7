"""Checks of prompt lists: which entries are prompts, and which may never be drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from pruneguard.errors import ConfigError
from pruneguard.text.minors import mentions_minors


def check_prompts(prompts: Sequence[str], where: str) -> tuple[str, ...]:
    """The prompts as a tuple. `where` names the list in messages.

    Raises ConfigError for an entry that is no text, is empty or mentions minors.
    """
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"{where}: {prompt!r} is not a prompt; every entry must be a text that is not empty")
        if mentions_minors(prompt):
            raise ConfigError(f"{where}: {prompt!r} mentions minors; such prompts are never drawn, remove it")
    return tuple(prompts)


def same_text(prompt: str) -> str:
    """What two prompts have in common that a tokenizer reads alike: case and blanks do not count."""
    return " ".join(unicodedata.normalize("NFC", prompt).casefold().split())


def without_minors(prompts: Iterable[str]) -> tuple[str, ...]:
    """The prompts that do not mention minors, in their order."""
    return tuple(prompt for prompt in prompts if not mentions_minors(prompt))
