"""Regular expressions that are read in linear time and few steps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

_BEHIND = re.compile(r"(?:\(\?<![^()]*\))+")
# What a match may begin with, and what shows in a text that it can begin there.
_BEGINNINGS = {"number": r"(?=\d)", "word": r"(?=[^\W\d])", "mark": r"(?=[^\w\s])"}


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words that reads each letter of a text once: common beginnings are merged."""
    ends = defaultdict(set)
    whole = False
    for word in words:
        if word:
            ends[word[0]].add(word[1:])
        whole = whole or not word
    if not ends:
        return ""
    parts = [first + any_of(rest) for first, rest in sorted(ends.items())]
    if len(parts) == 1 and not whole:
        return parts[0]
    return f"(?:{'|'.join(parts)}){'?' if whole else ''}"


def any_pattern(patterns: Iterable[str]) -> str:
    """A pattern for any of the patterns, which tries at a number only those that can begin with one, and so on."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _BEGINNINGS}
    for pattern in patterns:
        for alternative in _alternatives(pattern):
            for kind in _beginnings(alternative):
                kinds[kind].append(alternative)
    return "|".join(f"{_BEGINNINGS[kind]}(?:{'|'.join(found)})" for kind, found in kinds.items() if found)


def _beginnings(alternative: str) -> set[str]:
    """What a match of an alternative can begin with: in doubt anything."""
    behind = _BEHIND.match(alternative)
    rest = alternative[behind.end() :] if behind else alternative
    if rest.startswith("(?:"):
        inside, after = _group(rest)
        found = {kind for part in _alternatives(inside) for kind in _beginnings(part)}
        return found | _beginnings(after[1:]) if after.startswith(("?", "*")) else found
    if rest[:1].isalpha():
        return {"word"}
    if rest[:1].isdigit() or rest.startswith(r"\d"):
        return {"number"}
    return {"mark"} if rest[:1] in (",", "<") else set(_BEGINNINGS)


def _group(pattern: str) -> tuple[str, str]:
    """What stands inside the group that a pattern begins with, and after it."""
    end = next(at for at, depth in _depths(pattern) if depth == 0)
    return pattern[len("(?:") : end], pattern[end + 1 :]


def _alternatives(pattern: str) -> Iterator[str]:
    """The alternatives of a pattern that stand in no group."""
    begin = 0
    for at, depth in _depths(pattern):
        if pattern[at] == "|" and depth == 0:
            yield pattern[begin:at]
            begin = at + 1
    yield pattern[begin:]


def _depths(pattern: str) -> Iterator[tuple[int, int]]:
    """The place of each sign that is neither escaped nor in a set, and in how many groups it stands."""
    depth, in_set, escaped = 0, False, False
    for at, sign in enumerate(pattern):
        if escaped or sign == "\\":
            escaped = not escaped
        elif in_set or sign == "[":
            in_set = sign != "]"
        else:
            depth += (sign == "(") - (sign == ")")
            yield at, depth
