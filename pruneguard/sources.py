"""Where models come from: hub ids with their revisions, local folders, and the names by which records call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pruneguard.errors import ModelError

HUB_FILES = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "*/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model-*-of-*.safetensors",
    "text_encoder/model.safetensors.index.json",
    "*/diffusion_pytorch_model.safetensors",
    "*/diffusion_pytorch_model-*-of-*.safetensors",
    "*/diffusion_pytorch_model.safetensors.index.json",
)
"""The files of a Stable Diffusion repository that are downloaded."""
SAFETY_FILES = ("safety_checker/*.json", "safety_checker/*.safetensors", "feature_extractor/*.json")
"""The files of its safety checker, which are downloaded only to keep it."""
KINDS = 'give "atelier", a diffusers folder, a bundle, or a hub id such as owner/model'
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SPEC = re.compile(r"([a-z][a-z0-9_-]+):(.+)", re.DOTALL)


class Download(NamedTuple):
    """A snapshot of a hub repository on this machine, and the commit that it is."""

    folder: Path
    revision: str


def is_hub_id(source: str | Path) -> bool:
    """Whether a source has the form of a hub id, and no folder of that name is here."""
    return isinstance(source, str) and _HUB_ID.fullmatch(source) is not None and not Path(source).exists()


def download(hub_id: str, revision: str | None = None, files: Sequence[str] = HUB_FILES) -> Download:
    """Downloads files of a hub repository, or finds them in the cache. Raises ModelError.

    `revision` is a commit, branch or tag, by default the main branch. The cache keeps each snapshot in a folder that is
    named by its commit.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(files)))
    except GatedRepoError as error:
        raise ModelError(f"{hub_id}: needs permission; ask for it on its page and run `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{hub_id}: has no revision {revision!r}; give a commit, a branch or a tag of it") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{hub_id}: no such folder here and no such model on the hub; {KINDS}") from error
    except HFValidationError as error:
        raise ModelError(f"{hub_id}: not a hub id ({error}); {KINDS}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        remedy = "check the network, or download the model elsewhere and give its folder"
        raise ModelError(f"{hub_id}: no such folder here, and the hub cannot be reached; {remedy}") from error
    return Download(folder, folder.name)


def public_name(text: str) -> str:
    """The last component of a path, because a record must not tell how a user's folders are called.

    Everything else stays as it is: hub ids, registered names, prompts. A path is absolute or exists, and may stand
    behind a name and a colon, as in `clip:/models/clip`. The digests beside a name say what was there.
    """
    if spec := _SPEC.fullmatch(text):
        return f"{spec[1]}:{public_name(spec[2])}"
    if "\0" in text or len(text) > 4096:
        return text
    path = Path(text)
    try:
        local = path.is_absolute() or (len(path.parts) > 1 and path.exists())
    except OSError:  # a text that is too long for a path
        return text
    return (path.name or path.resolve().name) if local else text


def without_paths(value: Any) -> Any:
    """Plain values with `public_name` of every text in them."""
    if isinstance(value, str):
        return public_name(value)
    if isinstance(value, dict):
        return {name: without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(inner) for inner in value]
    return value
