"""Text of users and files on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without effect on a terminal: a replacement sign stands for every control code."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
