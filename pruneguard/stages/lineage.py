"""What a stage's record says about the models that went in: names without paths, revisions, and full digests."""

from __future__ import annotations

from typing import Any

from pruneguard.bundle import Bundle
from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline
from pruneguard.runs.digest import weights_digest
from pruneguard.sources import public_name

PARTS = ("text_encoder", "unet", "vae")


def model_digests(pipeline: Pipeline) -> dict[str, str]:
    """The digest of the weights of each part, as they were loaded."""
    return {name: weights_digest(getattr(pipeline, name)) for name in PARTS}


def model_settings(teacher: Pipeline, source: str) -> dict[str, Any]:
    """How a record names the teacher: by name, and by commit if it came from the hub."""
    revision = {} if teacher.revision is None else {"revision": teacher.revision}
    return {"model": public_name(source), **revision}


def recorded_teacher(bundle: Bundle) -> tuple[str, str | None] | None:
    """The name and the revision of the teacher in a bundle's lineage, if they are enough to load it.

    They are for the embedded model and for models on the hub. A local folder is named by its last component only.
    """
    for stage in bundle.manifest.stages:
        named = stage.settings.get("model")
        if isinstance(named, str):
            return (named, stage.settings.get("revision")) if named == "atelier" or "/" in named else None
    return None


def check_teacher(bundle: Bundle, teacher: Pipeline) -> None:
    """Raises ConfigError for a teacher with other weights than the one that the bundle was made from."""
    recorded = next((stage.inputs["teacher"] for stage in bundle.manifest.stages if "teacher" in stage.inputs), None)
    if not isinstance(recorded, dict):
        return  # a bundle of an earlier version
    differing = [name for name, digest in model_digests(teacher).items() if recorded.get(name) != digest]
    if differing:
        raise ConfigError(
            f"{bundle.path}: {teacher.source} has another {differing[0]} than the teacher of this bundle; give the"
            " --teacher that it was made from"
        )
