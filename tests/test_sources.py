"""Where models come from, and how records call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pruneguard.errors import ModelError
from pruneguard.models import find_folder, load_pipeline
from pruneguard.sources import is_hub_id, public_name, without_paths

COMMIT = "133a221b8aa7292a167afc5127cb63fb5005638b"


@pytest.fixture
def hub(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A cache of the hub with one snapshot of the tiny model; what was asked for is kept."""
    snapshots = tmp_path / "models--owner--model" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / COMMIT).symlink_to(tiny_folder)
    asked: dict[str, Any] = {}

    def snapshot(hub_id: str, **options: Any) -> str:
        asked.update(options, hub_id=hub_id)
        return str(snapshots / COMMIT)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    return asked


def test_a_model_from_the_hub_knows_the_commit_that_was_resolved(hub: dict[str, Any]) -> None:
    pipeline = load_pipeline("owner/model", revision="v1.0")
    assert (hub["hub_id"], hub["revision"]) == ("owner/model", "v1.0")
    assert pipeline.revision == COMMIT
    assert load_pipeline("owner/model").revision == COMMIT
    assert hub["revision"] is None


def test_only_the_hub_has_revisions(tiny_folder: Path) -> None:
    for source in ("atelier", tiny_folder):
        assert load_pipeline(source).revision is None
        with pytest.raises(ModelError, match="only a model on the hub has a --revision; leave it out"):
            find_folder(source, "main")


def test_a_revision_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RevisionNotFoundError

    def missing(*_: Any, **__: Any) -> str:
        raise RevisionNotFoundError.__new__(RevisionNotFoundError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", missing)
    with pytest.raises(ModelError, match="owner/model: has no revision 'v9'; give a commit, a branch or a tag"):
        find_folder("owner/model", "v9")


def test_a_folder_of_the_form_of_a_hub_id_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("owner/model")
    (tmp_path / "owner/model").mkdir(parents=True)
    assert not is_hub_id("owner/model")
    assert not is_hub_id(Path("owner/other"))


def test_records_name_paths_by_their_last_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private/pictures").mkdir(parents=True)
    names = {
        "/opt/someone/models/sd": "sd",
        str(tmp_path / "private/pictures/"): "pictures",
        "private/pictures": "pictures",
        "../" + tmp_path.name + "/private": "private",
        f"clip:{tmp_path}/clip-model": "clip:clip-model",
        # These are no paths.
        "owner/model": "owner/model",
        "clip:openai/clip-vit-base-patch32": "clip:openai/clip-vit-base-patch32",
        "atelier": "atelier",
        "a black and/or white cat": "a black and/or white cat",
        "": "",
        "x" * 5000: "x" * 5000,
        "a\0b": "a\0b",
    }
    assert {given: public_name(given) for given in names} == names
    values = {"data": {"source": {"name": "/data/set", "options": {"n": 3, "more": ["/a/b", None, 1.5, True]}}}}
    assert without_paths(values) == {
        "data": {"source": {"name": "set", "options": {"n": 3, "more": ["b", None, 1.5, True]}}}
    }
