"""Writing a bundle: a draft in a staging folder that replaces the bundle as a whole, or its manifest alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pruneguard.bundle.copies import PrivateCopy, copy_files
from pruneguard.bundle.files import listed, read_file, scan
from pruneguard.bundle.manifest import (
    FORMAT,
    MANIFEST,
    Audit,
    EngineRecord,
    Manifest,
    Stage,
    check_engine_name,
    check_relative,
    dump_manifest,
    settings_digest,
)
from pruneguard.bundle.reading import Bundle, Seal, subject_digests, subject_files
from pruneguard.errors import BundleError, LineageError
from pruneguard.staging import NO_SPACE, file_aside, folder_aside, write_failure


@dataclass
class BundleDraft:
    """A bundle that is being written: put files into `folder`; the file records are made at the end."""

    folder: Path
    manifest: Manifest = field(default_factory=Manifest)
    sealed_files: bool = False
    """Whether the manifest's file records hold for `folder`, so that nothing needs to be hashed."""

    def add_stage(self, stage: Stage) -> None:
        """Adds a stage to the lineage and removes an earlier one of the same name."""
        kept = [other for other in self.manifest.stages if other.name != stage.name]
        self.update(stages=[*kept, stage])

    def add_audit(self, audit: Audit) -> None:
        """Adds an audit and removes an earlier one of the same concept, subject and UNet."""
        key = (audit.concept, audit.subject, audit.unet)
        kept = [other for other in self.manifest.audits if (other.concept, other.subject, other.unet) != key]
        self.update(audits=[*kept, audit])

    def add_engine(self, name: str, engine: EngineRecord) -> None:
        """Adds an engine and removes an earlier one of the same name. Raises BundleError for a wrong name.

        Audits stay: one of other files does not hold, and one of the same files is no reason to audit until it passes.
        """
        check_engine_name(name, str(self.folder))
        self.update(engines={**self.manifest.engines, name: engine})

    def update(self, **changes: Any) -> None:
        """Replaces fields of the manifest, such as sampler, concepts, macs or policy."""
        self.manifest = msgspec.structs.replace(self.manifest, **changes)

    def digests(self, subject: str) -> dict[str, str]:
        """Path -> SHA-256 of a subject's files in their present state."""
        if self.sealed_files:
            return subject_digests(self.manifest, subject)
        paths = subject_files(self.manifest, subject, scan(self.folder)[0])
        return {path: read_file(self.folder / path)[0].sha256 for path in paths}

    @contextlib.contextmanager
    def copied(self, subject: str) -> Iterator[PrivateCopy]:
        """A private copy of a subject's files in their present state. Raises OSError and BundleError."""
        paths = subject_files(self.manifest, subject, scan(self.folder)[0])
        with copy_files(self.folder, {path: (self.folder / path).stat().st_size for path in paths}) as files:
            yield files

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
    """Yields a draft, empty or a verified copy of the bundle `base`; on success it atomically replaces `path`.

    `base` may be `path` itself. If the block fails, the draft is removed and the old bundle stays; a process that dies
    leaves the old bundle or the new one. Only a bundle or an empty folder is ever replaced.
    Raises BundleError (with its remedy) and LineageError (a base whose files do not match its manifest).
    """
    target = Path(path).absolute()
    before = ""

    def check() -> None:
        if _replaceable(target) != before:
            raise BundleError(f"{target} was changed by another process meanwhile and was kept; run the stage again")

    with contextlib.ExitStack() as stack:
        with _explained(target):
            folder = stack.enter_context(folder_aside(target, check=check))
            before = _replaceable(target)
        with _explained(target, only=NO_SPACE):
            draft = BundleDraft(folder)
            if base is not None:
                draft.manifest = _copy_base(Path(base).absolute(), folder)
            yield draft
        with _explained(target):
            (folder / MANIFEST).write_bytes(dump_manifest(draft.sealed()))
            stack.close()  # replaces `path`


@contextlib.contextmanager
def amend_bundle(bundle: Bundle, seal: Seal) -> Iterator[BundleDraft]:
    """Yields a draft of a verified bundle's manifest alone; the bundle's files stay and are not hashed again.

    Put no files into the draft's folder. Raises LineageError if the bundle changed since it was verified.
    """
    draft = BundleDraft(bundle.path, bundle.manifest, sealed_files=True)
    yield draft

    def check() -> None:
        seal.check()
        if Bundle.open(bundle.path).digest != bundle.digest:
            raise LineageError(f"{bundle.path} was changed by another process meanwhile; run the stage again")

    with (
        _explained(bundle.path),
        file_aside(bundle.path / MANIFEST, beside=bundle.path, check=check) as aside,
    ):
        aside.write_bytes(dump_manifest(msgspec.structs.replace(draft.manifest, format=FORMAT)))


def _replaceable(target: Path) -> str:
    """The digest of the bundle at `target`, '' if nothing or an empty folder is there; otherwise BundleError."""
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
    """Copies a bundle and verifies the copy: a file that was changed must not get a new digest."""
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
    """Turns OSErrors of writing into BundleError with a remedy; `only` limits this to some error numbers."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise BundleError(write_failure(error, target)) from error
