"""Bundles: the folders that stages hand on, in which every file is vouched for by a digest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruneguard.bundle.manifest import (
    FORMAT,
    MANIFEST,
    SUBJECTS,
    Audit,
    FileRecord,
    Manifest,
    Stage,
    check_relative,
    dump_manifest,
    parse_manifest,
)
from pruneguard.errors import BundleError, ConfigError, LineageError
from pruneguard.staging import NO_SPACE, locked, open_staging, recover, siblings, swap_in, sync_tree

_CHUNK = 1 << 20


def sha256_file(path: Path | str) -> str:
    """The SHA-256 digest of a regular file, read in chunks; a symbolic link is not followed (OSError)."""
    return _read(Path(path))[0].sha256


@dataclass(frozen=True)
class Seal:
    """What the file system said of each verified file while it was hashed, to prove later that it is still that file.

    The change time cannot be set by a program, so equal values mean that the bytes loaded since are the bytes verified.
    """

    folder: Path
    identities: dict[str, tuple[int, ...]]

    def check(self) -> None:
        """Raises LineageError naming the files that changed since they were verified."""
        changed = []
        for relative, identity in self.identities.items():
            try:
                now = _identity((self.folder / relative).lstat())
            except OSError:
                now = ()
            if now != identity:
                changed.append(relative)
        if changed:
            raise LineageError(f"{self.folder}: changed while it was being loaded: {_names(changed)}; load it again")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and its manifest; `digest` is the SHA-256 of the manifest, which pins the whole bundle."""

    path: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: Path | str, *, digest: str | None = None) -> Bundle:
        """Reads and checks the manifest, not yet the files.

        `digest` is the expected SHA-256 of the manifest, 64 hexadecimal digits. Raises BundleError, LineageError for
        another digest, and ConfigError for what is none.
        """
        if digest is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise ConfigError(f"a digest has 64 hexadecimal digits, not {digest!r}; `pruneguard verify` prints it")
        folder = Path(path).absolute()
        if not folder.exists() and siblings(folder, "retired"):
            with contextlib.suppress(OSError), locked(folder.parent):
                recover(folder)
        source = folder / MANIFEST
        try:
            data = source.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(
                f"{folder} is not a bundle: it has no {MANIFEST}; `pruneguard train` makes one"
            ) from error
        except OSError as error:
            raise BundleError(f"{source} cannot be read ({error.strerror}); check its permissions") from error
        found = hashlib.sha256(data).hexdigest()
        if digest is not None and digest.lower() != found:
            raise LineageError(f"{folder} has digest {found}, not the expected {digest}; get the right bundle")
        return cls(folder, parse_manifest(data, str(source)), found)

    def file(self, relative: str) -> Path:
        """The path of a file of this bundle. Raises BundleError for a path that leads out, also through a link."""
        path = self.path
        for part in check_relative(relative, str(self.path)).split("/"):
            path = path / part
            if path.is_symlink():
                raise LineageError(f"{path} is a symbolic link; a bundle holds plain files only")
        return path

    def verify(self) -> Seal:
        """Hashes every file. Raises LineageError naming what changed, is missing, is not listed, or is a link."""
        found, odd = _scan(self.path)
        listed = self.manifest.files
        complaints = [("links or special files", sorted(odd))]
        complaints += [
            ("missing", sorted(listed.keys() - found)),
            ("not in the manifest", sorted(found - listed.keys())),
        ]
        changed, identities = [], {}
        for relative in sorted(found & listed.keys()):
            try:
                record, identities[relative] = _read(self.path / relative)
            except OSError as error:
                raise LineageError(
                    f"{self.path / relative} cannot be read ({error.strerror}); copy it again"
                ) from error
            if record != listed[relative]:
                changed.append(relative)
        complaints.insert(0, ("changed", changed))
        said = [f"{what}: {_names(names)}" for what, names in complaints if names]
        if said:
            raise LineageError(f"{self.path}: {'; '.join(said)}. Restore the bundle or make it again")
        return Seal(self.path, identities)

    def weights(self, subject: str) -> dict[str, str]:
        """Path -> SHA-256 of a subject's files, weights, tokenizer and configuration: what an audit of it must name."""
        if subject not in SUBJECTS:
            raise BundleError(f"an audit's subject is one of {', '.join(SUBJECTS)}, not {subject!r}")
        records = self.manifest.files.items()
        return {path: record.sha256 for path, record in records if path.startswith(f"{subject}/")}

    def require_audits(self, subject: str, concepts: Iterable[str] = (), *, limit: float = 1.0) -> None:
        """Checks that each concept of the policy, and of `concepts`, has a passed audit of the present files.

        `limit` is the largest target rate that the caller lets pass, where the policy is laxer. Raises LineageError.
        """
        limit = min(limit, self.manifest.policy_limit)
        audits = {audit.concept: audit for audit in self.manifest.audits if audit.subject == subject}
        weights = self.weights(subject)
        if not weights:
            stage = "pruneguard export --onnx" if subject == "onnx" else "pruneguard train"
            raise LineageError(f"{self.path} holds nothing under {subject}/; run `{stage}` for it first")
        for concept in dict.fromkeys([*self.manifest.policy_concepts, *concepts]):
            audit = audits.get(concept)
            remedy = f"run `pruneguard audit --subject {subject}` on this bundle"
            if audit is None:
                reason = "was never audited"
                if concept not in self.manifest.policy_concepts:
                    remedy = f"suppress it with `pruneguard train --concepts {concept}` and export that"
            elif not audit.passed or audit.target_rate > limit:
                reason = f"failed its audit ({audit.target_rate:.1%} drawn, limit {limit:.1%})"
                remedy = "train it again with more --steps and export that; no option serves it as it is"
            elif not weights.items() <= audit.digests.items() or not self._holds(audit):
                reason = "was audited on other files than these"
            else:
                continue
            raise LineageError(f"{self.path / subject}: {concept!r} {reason}; {remedy}")

    def _holds(self, audit: Audit) -> bool:
        files = self.manifest.files
        return all(path in files and files[path].sha256 == digest for path, digest in audit.digests.items())


@dataclass
class BundleDraft:
    """A bundle being written: put files into `folder`; the manifest's file records are made when it is closed."""

    folder: Path
    manifest: Manifest = field(default_factory=Manifest)

    def add_stage(self, stage: Stage) -> None:
        self.update(stages=(*self.manifest.stages, stage))

    def add_audit(self, audit: Audit) -> None:
        """Adds an audit in place of an earlier one of the same concept and subject."""
        key = (audit.concept, audit.subject)
        kept = [other for other in self.manifest.audits if (other.concept, other.subject) != key]
        self.update(audits=(*kept, audit))

    def update(self, **changes: Any) -> None:
        """Replaces fields of the manifest, such as sampler, concepts, macs or policy."""
        self.manifest = dataclasses.replace(self.manifest, **changes)

    def weights(self, subject: str) -> dict[str, str]:
        """As Bundle.weights, of the files that are in the draft now."""
        return Bundle(self.folder, self._sealed(), "").weights(subject)

    def _sealed(self) -> Manifest:
        found, odd = _scan(self.folder)
        if odd:
            raise BundleError(f"{_names(sorted(odd))}: a bundle cannot hold links or special files; copy the content")
        records = {check_relative(path, "the new bundle"): _read(self.folder / path)[0] for path in sorted(found)}
        return dataclasses.replace(self.manifest, format=FORMAT, files=records)


@contextlib.contextmanager
def write_bundle(path: Path | str, *, base: Path | str | None = None) -> Iterator[BundleDraft]:
    """A draft, empty or a verified copy of the bundle `base`, that takes the place of `path` when the block ends well.

    `base` may be `path` itself. If the block fails, the draft is removed and what was at `path` stays; a process that
    dies leaves the old bundle or the new one. Only a bundle or an empty folder is ever replaced.
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


def _commit(draft: BundleDraft, target: Path, before: str) -> None:
    (draft.folder / MANIFEST).write_bytes(dump_manifest(draft._sealed()))
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
    found, odd = _scan(target)
    if foreign := sorted((found | odd) - bundle.manifest.files.keys()):
        raise BundleError(f"{target} also holds {_names(foreign)}, which writing would delete; move it out first")
    return bundle.digest


def _copy_base(base: Path, folder: Path) -> Manifest:
    """Copies a bundle and verifies the copy, so that a changed file is never vouched for anew."""
    bundle = Bundle.open(base)
    found, odd = _scan(base)
    if odd:
        raise LineageError(
            f"{base}: links or special files: {_names(sorted(odd))}. Restore the bundle or make it again"
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
            remedy = "free some space or choose another disk; what was there before is untouched"
        else:
            remedy = "choose a folder that you may write to"
        raise BundleError(f"{error.filename or target} cannot be written ({reason}); {remedy}") from error


def _scan(folder: Path) -> tuple[set[str], set[str]]:
    """The relative paths of plain files, and of links and special files, under `folder`; the manifest is in neither."""
    plain: set[str] = set()
    odd: set[str] = set()
    for root, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            single = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            (plain if single else odd).add(relative)
    plain.discard(MANIFEST)
    return plain, odd


def _read(path: Path) -> tuple[FileRecord, tuple[int, ...]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return FileRecord(digest.hexdigest(), size), _identity(status)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
