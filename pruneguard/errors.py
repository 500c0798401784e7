"""Errors for people: each message says what is wrong, in which file or option, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PruneguardError(Exception):
    """Base of all errors that pruneguard raises on purpose; `code` is stable and fit for machines."""

    code = "error"


class ConfigError(PruneguardError):
    """An option, a setting or a concept is wrong."""

    code = "invalid_config"


class ModelError(PruneguardError):
    """A model cannot be found or read."""

    code = "invalid_model"


class DataError(PruneguardError):
    """Training or audit data cannot be found or read."""

    code = "invalid_data"


class TrainingError(PruneguardError):
    """Training cannot continue; the message names the last good checkpoint."""

    code = "training_failed"


class ExportError(PruneguardError):
    """An engine cannot be built, or does not agree with its source."""

    code = "export_failed"


class BundleError(PruneguardError):
    """The manifest or the files of a bundle are invalid."""

    code = "invalid_bundle"


class LineageError(BundleError):
    """A file changed, is missing or is not in the manifest, or a required stage or audit is missing."""

    code = "lineage_broken"


class AuditError(BundleError):
    """A model or an engine failed its audit: its files are intact, but it draws a suppressed concept."""

    code = "audit_failed"


class InvalidAuditError(BundleError):
    """An audit shows nothing, because its detector cannot tell the concept or because it has no control."""

    code = "audit_invalid"


class RequestError(PruneguardError):
    """A request to the sampler is outside its contract."""

    code = "invalid_request"


class Refusal(PruneguardError):
    """A guard refused to draw because of its policy."""

    code = "content_policy_violation"


class GuardFailure(PruneguardError):
    """A guard failed to decide, so nothing is drawn."""

    code = "guard_unavailable"


class Cancelled(PruneguardError):
    """The caller cancelled between two steps."""

    code = "cancelled"


def shown(value: object, most: int = 80) -> str:
    """A wrong value in a message: the first `most` characters of its repr in one line, or its type if it has none."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a whole number of thousands of digits, a list of thousands of levels, or a repr that fails
        return f"a value of type {type(value).__name__} that cannot be written out"
    return text if len(text) <= most else f"{text[:most]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the names that are similar to it, and all known names."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}choose from {', '.join(names)}" if names else "there is none to choose from"
