"""Bundles: the folders that stages pass on, with the digest of every file in a manifest.

The runtime needs only reading (`Bundle`). Writing is loaded on first use, because it needs POSIX file locks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pruneguard.bundle.copies import PrivateCopy, copy_folder
from pruneguard.bundle.files import TEXT_LIMIT, read_json, sha256_file
from pruneguard.bundle.judgement import (
    DRAWN,
    ELSEWHERE,
    FALSE_ALARMS,
    FLOOR,
    IMPLICIT,
    KEEP,
    KEPT,
    MISSED,
    THRESHOLD,
    Judgement,
    blindness,
    shortfall,
)
from pruneguard.bundle.manifest import (
    DEFAULT_UNET,
    FORMAT,
    LIMIT,
    MANIFEST,
    MODEL,
    Audit,
    EngineRecord,
    FileRecord,
    Manifest,
    Policy,
    Stage,
    check_engine_name,
)
from pruneguard.bundle.reading import Bundle, Seal
from pruneguard.bundle.space import Space, common_space, space_of

if TYPE_CHECKING:
    from pruneguard.bundle.writing import BundleDraft, amend_bundle, write_bundle

__all__ = [
    "DEFAULT_UNET",
    "DRAWN",
    "ELSEWHERE",
    "FALSE_ALARMS",
    "FLOOR",
    "FORMAT",
    "IMPLICIT",
    "KEEP",
    "KEPT",
    "LIMIT",
    "MANIFEST",
    "MISSED",
    "MODEL",
    "TEXT_LIMIT",
    "THRESHOLD",
    "Audit",
    "Bundle",
    "BundleDraft",
    "EngineRecord",
    "FileRecord",
    "Judgement",
    "Manifest",
    "Policy",
    "PrivateCopy",
    "Seal",
    "Space",
    "Stage",
    "amend_bundle",
    "blindness",
    "check_engine_name",
    "common_space",
    "copy_folder",
    "read_json",
    "sha256_file",
    "shortfall",
    "space_of",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name in ("BundleDraft", "amend_bundle", "write_bundle"):
        return getattr(import_module("pruneguard.bundle.writing"), name)
    raise AttributeError(f"module 'pruneguard.bundle' has no attribute {name!r}")
