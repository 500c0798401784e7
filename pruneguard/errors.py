"""Errors meant for people: each says what is wrong, in which file or option, and what to do."""

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
    """Training cannot go on; the last good checkpoint is named."""

    code = "training_failed"


class ExportError(PruneguardError):
    """An engine cannot be built, or does not agree with its source."""

    code = "export_failed"


class BundleError(PruneguardError):
    """A bundle's manifest or files are not what they must be."""

    code = "invalid_bundle"


class LineageError(BundleError):
    """A file changed, is missing or is not vouched for; or a stage or audit that must be there is not."""

    code = "lineage_broken"


class AuditError(BundleError):
    """A model or an engine failed its audit: it is whole, and it draws what it must not."""

    code = "audit_failed"


class RequestError(PruneguardError):
    """A request to the sampler is out of its contract."""

    code = "invalid_request"


class Refusal(PruneguardError):
    """A guard refused to draw: policy, not failure."""

    code = "content_policy_violation"


class GuardFailure(PruneguardError):
    """A guard could not decide, so nothing is drawn."""

    code = "guard_unavailable"


class Cancelled(PruneguardError):
    """The caller cancelled between two steps."""

    code = "cancelled"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was perhaps meant, and all names that are known."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}choose from {', '.join(names)}" if names else "there is none to choose from"
