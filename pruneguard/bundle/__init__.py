"""Bundles: the folders that stages hand on, in which a digest vouches for every file."""

from __future__ import annotations

from pruneguard.bundle.bundle import Bundle, BundleDraft, Seal, sha256_file, write_bundle
from pruneguard.bundle.manifest import FORMAT, LIMIT, MANIFEST, SUBJECTS, Audit, FileRecord, Manifest, Stage

__all__ = [
    "FORMAT",
    "LIMIT",
    "MANIFEST",
    "SUBJECTS",
    "Audit",
    "Bundle",
    "BundleDraft",
    "FileRecord",
    "Manifest",
    "Seal",
    "Stage",
    "sha256_file",
    "write_bundle",
]
