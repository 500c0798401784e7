"""Parts of regular expressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


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
