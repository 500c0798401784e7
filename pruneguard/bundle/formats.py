"""One reader for each format of the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pruneguard.bundle.manifest import FORMAT, MODEL, Manifest, check_manifest, read_document, settings_digest
from pruneguard.errors import BundleError


def parse_manifest(data: bytes, where: str) -> tuple[Manifest, int]:
    """The manifest in `data` and the format it was written in. Raises BundleError; `where` names the file."""
    document = read_document(data, where)
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise BundleError(f"{where}: `format` is {version!r}; it must be a whole number; make the bundle again")
    if version not in READERS:
        raise BundleError(f"{where} has format {version}, this pruneguard reads up to {FORMAT}; install a newer one")
    return READERS[version](document, where), version


def read_format_1(document: Mapping[str, Any], where: str) -> Manifest:
    """Format 1 as a manifest of today: the model with its audits, and no engines.

    The engines of format 1 took one whole-number timestep for all rows; no backend of today feeds them, so they are
    left out, and the export stage makes new ones.
    """
    try:
        upgraded = {
            "format": FORMAT,
            "family": _family_1(document),
            "stages": [_stage_1(stage) for stage in document["stages"]],
            "files": document["files"],
            "sampler": {**document["sampler"], "solver": "pndm"} if document["sampler"] else {},
            "concepts": document["concepts"],
            "unets": {"default": "model/unet"} if any(path.startswith("model/") for path in document["files"]) else {},
            "audits": [_audit_1(audit) for audit in document["audits"] if audit["subject"] == MODEL],
            "macs": document["macs"],
            "policy": document["policy"],
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{where}: not a whole manifest of format 1 ({error!r}); copy the bundle again") from None
    manifest = check_manifest(upgraded, where)
    settings = settings_digest(manifest, MODEL)
    audits = [msgspec.structs.replace(audit, settings=settings) for audit in manifest.audits]
    return msgspec.structs.replace(manifest, audits=audits)


_FAMILIES_1 = {"general": "stable-diffusion"}
READERS: Mapping[int, Callable[[Mapping[str, Any], str], Manifest]] = {1: read_format_1, 2: check_manifest}


def _family_1(document: Mapping[str, Any]) -> str:
    stages = document["stages"]
    family = stages[0]["settings"].get("family", "general") if stages else "general"
    return _FAMILIES_1.get(family, str(family))


def _stage_1(stage: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in stage.items() if name != "metrics"}
    numbers = {name: value for name, value in stage["metrics"].items() if type(value) in (int, float)}
    return {**kept, "measurements": [{"name": name, "value": value} for name, value in numbers.items()]}


def _audit_1(audit: Mapping[str, Any]) -> dict[str, Any]:
    seed, count = audit["seed"], audit["target_images"]
    protocol = {"subject": audit["subject"], "detector": audit["detector"]}
    drawn = {"name": "drawn", "value": audit["target_rate"], "unit": "share", "count": count, "protocol": protocol}
    if count:
        drawn["seeds"] = [seed, seed + count - 1]
    kept = [
        {"name": f"kept/{name}", "value": value, "unit": "share", "count": audit["images"] - count}
        for name, value in audit["preserved"].items()
    ]
    return {
        "concept": audit["concept"],
        "subject": audit["subject"],
        "limit": audit["limit"],
        "passed": audit["passed"],
        "measurements": [drawn, *kept],
        "digests": audit["digests"],
    }
