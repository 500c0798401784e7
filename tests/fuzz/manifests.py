"""Manifests: real ones that were harmed, and the arguments with which a sampler is made of their bundles."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pruneguard.bundle import MANIFEST, Bundle
from pruneguard.bundle.formats import parse_manifest
from pruneguard.bundle.manifest import MANIFEST_LIMIT, settings_digest
from pruneguard.errors import PruneguardError
from pruneguard.runtime import GuardedSampler
from tests.fuzz.documents import edited, encode, harmed
from tests.fuzz.values import odd, shown
from tests.runtime.tiny_bundle import ENGINE

ARGUMENTS = ("path", "engine", "policy", "limit", "threads", "guards", "digest", "batch_size")


@dataclass(frozen=True, repr=False)
class HarmedBundle:
    """A manifest for the files of `base`, and arguments for `from_bundle`; `kind` is what lies at its path."""

    base: Path
    original: bytes
    data: bytes
    kind: str
    arguments: Mapping[str, Any]

    def __repr__(self) -> str:
        arguments = {name: shown(value) for name, value in self.arguments.items()}
        known = {*self.original.split(b", ")}
        changed = [piece[:300] for piece in self.data.split(b", ") if piece not in known]
        return f"{arguments}, {self.base.name}: a {self.kind} of {len(self.data)} bytes with {changed[:9]}"

    def load(self) -> None:
        """Opens the bundle, verifies it, requires its audits and makes a sampler. Raises the last of our errors."""
        path = self.base / MANIFEST
        _clear(path)
        _place(path, self.kind, self.data)
        try:
            self._load()
        finally:
            _clear(path)

    def _load(self) -> None:
        bundle = Bundle.open(self.base)
        subjects = bundle.manifest.subjects() or (ENGINE,)
        steps: list[Callable[[], object]] = [
            bundle.verify,
            lambda: bundle.require_audits(subjects[0], ("hatching",)),
            lambda: GuardedSampler.from_bundle(**{"path": self.base, "threads": 1, **self.arguments}),
        ]
        failure: PruneguardError | None = None
        for step in steps:
            try:
                step()
            except PruneguardError as error:
                failure = error
        if failure is not None:
            raise failure


@st.composite
def manifests(draw: st.DrawFn, bases: Mapping[Path, bytes]) -> HarmedBundle:
    """A harmed manifest of one of the bundles; half of them ask for no audit, so that what lies behind it is read."""
    base = draw(st.sampled_from([*bases, next(iter(bases))]))
    document = draw(edited(json.loads(bases[base]), most=2))
    arguments: dict[str, Any] = {}
    if draw(st.booleans()):
        document = {**document, "policy": {}}
        arguments["allow_unaudited"] = True
    elif draw(st.booleans()):
        document = _sealed(document)
    data = encode(document)
    if draw(st.integers(0, 4)) == 0:
        data = draw(harmed(data))
    if draw(st.integers(0, 4)) == 0:
        arguments[draw(st.sampled_from(ARGUMENTS))] = draw(odd)
    kind = draw(st.sampled_from(["file"] * 30 + ["pipe", "folder", "link", "dangling", "huge"]))
    return HarmedBundle(base, encode(json.loads(bases[base])), data, kind, arguments)


def _sealed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with an audit that names its settings, as if they had been audited."""
    try:
        manifest, _ = parse_manifest(encode(document), "sealed")
        digest = settings_digest(manifest, ENGINE)
        return {**document, "audits": [{**audit, "settings": digest} for audit in document["audits"]]}
    except Exception:  # it cannot be read, and a test of reading it is what follows
        return document


def _place(path: Path, kind: str, data: bytes) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.with_name("elsewhere").write_bytes(data)
            path.symlink_to("elsewhere")
        case "dangling":
            path.symlink_to("nowhere")
        case "huge":
            path.write_bytes(data + b" " * MANIFEST_LIMIT)
        case _:
            path.write_bytes(data)


def _clear(path: Path) -> None:
    path.with_name("elsewhere").unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
