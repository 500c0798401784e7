"""Detects mentions of minors in a text: words for minors, and ages below eighteen.

English words are found in common disguises too. In doubt a text counts as a mention. `exemptions` lists what is no
mention, and `languages` has the rules of each language, with examples.
"""

from __future__ import annotations

from pruneguard.text.exemptions import without_exempt
from pruneguard.text.languages import LANGUAGES
from pruneguard.text.reading import Reading
from pruneguard.text.terms import has_term

MAX_LENGTH = 2500
"""The most characters that are read, also after signs were written out as their names. A longer text is a mention."""


def mentions_minors(text: str) -> bool:
    """True if `text` has a word for minors or an age below eighteen, or is too long to be read."""
    return mention(text) is not None


def mention(text: str) -> str | None:
    """The name of the rule by which a text mentions minors; None if it mentions none."""
    if len(text) > MAX_LENGTH:
        return "length"
    reading = Reading(without_exempt(text))
    if len(reading.plain) > MAX_LENGTH:
        return "length"
    if has_term(reading.plain):
        return "English: words"
    for language in LANGUAGES:
        if rule := language.find(reading):
            return f"{language.name}: {rule.name}"
    return None
