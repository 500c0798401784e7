"""Writing a bundle: in a draft aside, which takes its place whole; or its manifest alone."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pruneguard.bundle.files import listed, read_file, scan
from pruneguard.bundle.manifest import (
    FORMAT,
    MANIFEST,
    Audit,
    EngineRecord,
    Manifest,
    Stage,
    check_relative,
    dump_manifest,
    settings_digest,
)
from pruneguard.bundle.reading import Bundle, Seal, subject_digests
from pruneguard.errors import BundleError, LineageError
from pruneguard.staging import NO_SPACE, locked, open_staging, swap_in, sync_folder, sync_tree


@dataclass
class BundleDraft:
    """A bundle being written: put files into `folder`; the file records are made when it is closed."""

    folder: Path
    manifest: Manifest = field(default_factory=Manifest)

    def add_stage(self, stage: Stage) -> None:
        """Adds a stage to the lineage, in place of an earlier one of the same name."""
        kept = [other for other in self.manifest.stages if other.name != stage.name]
        self.update(stages=[*kept, stage])

    def add_audit(self, audit: Audit) -> None:
        """Adds an audit in place of an earlier one of the same concept, subject and UNet."""
        key = (audit.concept, audit.subject, audit.unet)
        kept = [other for other in self.manifest.audits if (other.concept, other.subject, other.unet) != key]
        self.update(audits=[*kept, audit])

    def add_engine(self, name: str, engine: EngineRecord) -> None:
        """Adds an engine in place of an earlier one of the same name, whose audits go with it."""
        audits = [audit for audit in self.manifest.audits if audit.subject != name]
        self.update(engines={**self.manifest.engines, name: engine}, audits=audits)

    def update(self, **changes: Any) -> None:
        """Replaces fields of the manifest, such as sampler, concepts, macs or policy."""
        self.manifest = msgspec.structs.replace(self.manifest, **changes)

    def digests(self, subject: str) -> dict[str, str]:
        """Path -> SHA-256 of a subject's files as they are in the draft now."""
        return subject_digests(self.sealed(), subject)

    def settings_digest(self, subject: str) -> str:
        """The digest of the settings under which a subject draws."""
        return settings_digest(self.manifest, subject)

    def sealed(self) -> Manifest:
        """The manifest with the records of all files in the draft. Raises BundleError for links and special files."""
        found, odd = scan(self.folder)
        if odd:
            raise BundleError(f"{listed(sorted(odd))}: a bundle cannot hold links or special files; copy the content")
        records = {check_relative(path, "the new bundle"): read_file(self.folder / path)[0] for path in sorted(found)}
        return msgspec.structs.replace(self.manifest, format=FORMAT, files=records)


@contextlib.contextmanager
def write_bundle(path: Path | str, *, base: Path | str | None = None) -> Iterator[BundleDraft]:
    """A draft, empty or a verified copy of the bundle `base`, that takes the place of `path` when the block ends well.

    `base` may be `path` itself. If the block fails, the draft is removed and the old bundle stays; a process that dies
    leaves the old bundle or the new one. Only a bundle or an empty folder is ever replaced.
    Raises BundleError (with its remedy) and LineageError (a base whose files do not match its manifest).
    """
    target = Path(path).absolute()
    with _explained(target):
        folder, descriptor = open_staging(target)
    try:
        with _explained(target):
            before = _replaceable(target)
        with _explained(target, only=NO_SPACE):
            draft = BundleDraft(folder)
            if base is not None:
                draft.manifest = _copy_base(Path(base).absolute(), folder)
            yield draft
        with _explained(target):
            _commit(draft, target, before)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def amend_bundle(bundle: Bundle, seal: Seal) -> Iterator[BundleDraft]:
    """A draft of a verified bundle's manifest alone; its files stay where they are and are not hashed again.

    Put no files into the draft's folder. Raises LineageError if the bundle changed since it was verified.
    """
    draft = BundleDraft(bundle.path, bundle.manifest)
    yield draft
    with _explained(bundle.path):
        folder, descriptor = open_staging(bundle.path)
        try:
            aside = folder / MANIFEST
            aside.write_bytes(dump_manifest(msgspec.structs.replace(draft.manifest, format=FORMAT)))
            sync_tree(folder)
            with locked(bundle.path.parent):
                seal.check()
                if Bundle.open(bundle.path).digest != bundle.digest:
                    raise LineageError(f"{bundle.path} was changed by another process meanwhile; run the stage again")
                aside.replace(bundle.path / MANIFEST)
                sync_folder(bundle.path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _commit(draft: BundleDraft, target: Path, before: str) -> None:
    (draft.folder / MANIFEST).write_bytes(dump_manifest(draft.sealed()))
    sync_tree(draft.folder)
    with locked(target.parent):
        if _replaceable(target) != before:
            raise BundleError(f"{target} was changed by another process meanwhile and was kept; run the stage again")
        swap_in(draft.folder, target)


def _replaceable(target: Path) -> str:
    """What stands at `target`: '' for nothing or an empty folder, a digest for a bundle; BundleError for all else."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BundleError(f"{target} is a file or a link, not a bundle; choose another folder")
    if not target.exists() or not any(target.iterdir()):
        return ""
    try:
        bundle = Bundle.open(target)
    except BundleError as error:
        raise BundleError(f"{error}. It was kept: choose another folder, or move this one away") from error
    found, odd = scan(target)
    if foreign := sorted((found | odd) - bundle.manifest.files.keys()):
        raise BundleError(f"{target} also holds {listed(foreign)}, which writing would delete; move it out first")
    return bundle.digest


def _copy_base(base: Path, folder: Path) -> Manifest:
    """Copies a bundle and verifies the copy, so that the digests never vouch for a changed file anew."""
    bundle = Bundle.open(base)
    found, odd = scan(base)
    if odd:
        raise LineageError(
            f"{base}: links or special files: {listed(sorted(odd))}. Restore the bundle or make it again"
        )
    for relative in sorted(found):
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / relative, folder / relative, follow_symlinks=False)
    try:
        Bundle(folder, bundle.manifest, bundle.digest).verify()
    except LineageError as error:
        raise LineageError(str(error).replace(str(folder), str(base), 1)) from error
    return bundle.manifest


@contextlib.contextmanager
def _explained(target: Path, only: tuple[int, ...] | None = None) -> Iterator[None]:
    """Turns the OSErrors of writing into BundleError with a remedy; `only` names the error numbers that are ours."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        reason = error.strerror or str(error)
        if error.errno in NO_SPACE:
            remedy = "free some space or choose another disk; the earlier content is untouched"
        else:
            remedy = "choose a folder that you may write to"
        raise BundleError(f"{error.filename or target} cannot be written ({reason}); {remedy}") from error
