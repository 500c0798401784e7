"""Regular expressions that are read in linear time and few steps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

_BEHIND = re.compile(r"(?:\(\?<[!=](?:[^()\\]|\\.)*\))+")
_LETTERS = re.compile(r"[^\W\d_]+")
_NUMBER, _MARK, _ANY = "number", "mark", ""
_AHEAD = {_NUMBER: r"(?=\d)", _MARK: r"(?=[^\w\s])", _ANY: r"(?=[^\W\d])"}


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


def not_after(words: Iterable[str]) -> str:
    """A pattern for a place that none of the words stands before."""
    lengths = defaultdict(list)
    for word in sorted(words):
        lengths[len(word)].append(rf"\b{word} ")
    return "".join(f"(?<!{'|'.join(found)})" for _, found in sorted(lengths.items()))


def any_pattern(patterns: Iterable[str]) -> str:
    """A pattern for any of the patterns, which tries each of them only where it can begin."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _AHEAD}
    lettered, words = [], set()
    for alternative in (alternative for pattern in patterns for alternative in _alternatives(pattern)):
        begins = _beginnings(alternative)
        for kind in (_NUMBER, _MARK, _ANY):
            if kind in begins or _ANY in begins:
                kinds[kind].append(alternative)
        if (letters := begins - set(_AHEAD)) and _ANY not in begins:
            lettered.append(alternative)
            words |= letters
    groups = [f"{_AHEAD[kind]}(?:{'|'.join(found)})" for kind, found in kinds.items() if found]
    return "|".join([*groups, f"(?={any_of(words)})(?:{'|'.join(lettered)})"] if lettered else groups)


def _beginnings(alternative: str) -> set[str]:
    """What a match of an alternative can begin with: some letters, _NUMBER, _MARK, and in doubt _ANY."""
    behind = _BEHIND.match(alternative)
    rest = alternative[behind.end() :] if behind else alternative
    if rest.startswith(("(?:", "(?=")):
        inside, after = _group(rest)
        found = {begin for part in _alternatives(inside) for begin in _beginnings(part)}
        return found | _beginnings(after[1:]) if after.startswith(("?", "*")) else found
    if letters := _LETTERS.match(rest):
        optional = rest[letters.end() :].startswith(("?", "*", "{"))
        return {letters[0][:-1] if optional else letters[0]}
    if rest[:1].isdigit() or rest.startswith(r"\d"):
        return {_NUMBER}
    return {_MARK} if rest[:1] in (",", "<") else {_ANY}


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
