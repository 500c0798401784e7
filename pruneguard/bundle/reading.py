"""Reading a bundle: its manifest, the verification of its files, and the audits that it must have."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pruneguard.bundle.copies import PrivateCopy, copy_files
from pruneguard.bundle.files import Identity, identity, listed, read_bounded, read_file, scan
from pruneguard.bundle.formats import parse_manifest
from pruneguard.bundle.manifest import (
    DEFAULT_UNET,
    FORMAT,
    MANIFEST,
    MANIFEST_LIMIT,
    MODEL,
    Audit,
    FileRecord,
    Manifest,
    check_relative,
    settings_digest,
)
from pruneguard.errors import AuditError, BundleError, ConfigError, InvalidAuditError, LineageError, nearest, shown


@dataclass(frozen=True)
class Seal:
    """The identity of each verified file on the file system at the time of hashing.

    A program cannot set the change time, so equal values mean that nobody wrote the file by its name since. A seal sees
    neither a write through an older mapping nor a folder that was exchanged and put back, so what is served is loaded
    from a private copy; a seal is for stages that read a bundle by its paths.
    """

    folder: Path
    identities: dict[str, Identity]

    def check(self) -> None:
        """Raises LineageError naming the files that changed since they were verified."""
        changed = []
        for relative, before in self.identities.items():
            try:
                now = identity((self.folder / relative).lstat())
            except OSError:
                now = ()
            if now != before:
                changed.append(relative)
        if changed:
            raise LineageError(f"{self.folder}: changed while it was being loaded: {listed(changed)}; load it again")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and its manifest.

    `digest` is the SHA-256 of the manifest, which pins the whole bundle. `format` is the format of the file on disk.
    """

    path: Path
    manifest: Manifest
    digest: str
    format: int = FORMAT

    @classmethod
    def open(cls, path: Path | str, *, digest: str | None = None) -> Bundle:
        """Reads and checks the manifest, not yet the files.

        `digest` is the expected SHA-256 of the manifest, 64 hexadecimal digits. Raises BundleError, LineageError for
        another digest, and ConfigError for a `digest` that is no digest.
        """
        if digest is not None and not (isinstance(digest, str) and re.fullmatch(r"[0-9a-fA-F]{64}", digest)):
            raise ConfigError(f"a digest has 64 hexadecimal digits, not {shown(digest)}; `pruneguard verify` prints it")
        if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
            raise ConfigError(f"the path of a bundle must be a text, not {shown(path)}")
        folder = Path(path).absolute()
        source = folder / MANIFEST
        try:
            if not folder.exists():
                _recover(folder)
            data = read_bounded(source, MANIFEST_LIMIT)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(
                f"{folder} is not a bundle: it has no {MANIFEST}; `pruneguard train` makes one"
            ) from error
        except (OSError, ValueError) as error:  # a path with a NUL or half a surrogate pair is a ValueError
            reason = getattr(error, "strerror", None) or error
            raise BundleError(f"{source} cannot be read ({reason}); check it or copy the bundle again") from error
        found = hashlib.sha256(data).hexdigest()
        if digest is not None and digest.lower() != found:
            raise LineageError(f"{folder} has digest {found}, not the expected {digest}; get the right bundle")
        manifest, version = parse_manifest(data, str(source))
        return cls(folder, manifest, found, version)

    def file(self, relative: str) -> Path:
        """The path of a file of this bundle. Raises BundleError for a path that leaves it, LineageError for a link."""
        path = self.path
        for part in check_relative(relative, str(self.path)).split("/"):
            path = path / part
            if path.is_symlink():
                raise LineageError(f"{path} is a symbolic link; a bundle holds plain files only")
        return path

    def verify(self) -> Seal:
        """Hashes every file. Raises LineageError naming files that changed, are missing, not listed, or links."""
        found, odd = self._scan()
        hashed = self._hash(found)
        self._compare(found, odd, {path: record for path, (record, _) in hashed.items()})
        return Seal(self.path, {path: identity for path, (_, identity) in hashed.items()})

    @contextlib.contextmanager
    def verified(self, subject: str) -> Iterator[PrivateCopy]:
        """Hashes every file, and yields a private copy of the subject's files with the very bytes that were hashed.

        Raises LineageError as `verify`, and BundleError for a subject that is not here or a copy that has no room.
        """
        self.require_subject(subject)
        found, odd = self._scan()
        sizes = {path: self.manifest.files[path].size for path in self.digests(subject) if path in found}
        with contextlib.ExitStack() as stack:
            try:
                files = stack.enter_context(copy_files(self.path, sizes))
            except OSError as error:
                raise self._unreadable(error) from error
            others = {path: record for path, (record, _) in self._hash(found - sizes.keys()).items()}
            self._compare(found, odd, {**files.records, **others})
            yield files

    def _scan(self) -> tuple[set[str], set[str]]:
        try:
            return scan(self.path)
        except OSError as error:
            raise self._unreadable(error) from error

    def _hash(self, found: set[str]) -> dict[str, tuple[FileRecord, Identity]]:
        """What is read of those of the files that the manifest lists, at most a little more than it says."""
        records = self.manifest.files
        try:
            return {
                path: read_file(self.path / path, limit=records[path].size) for path in sorted(found & records.keys())
            }
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> LineageError:
        where, reason = error.filename or self.path, error.strerror or error
        return LineageError(f"{where} cannot be read ({reason}); copy it again")

    def _compare(self, found: set[str], odd: set[str], hashed: Mapping[str, FileRecord]) -> None:
        records = self.manifest.files
        complaints = {
            "changed": sorted(path for path, record in hashed.items() if record != records[path]),
            "links or special files": sorted(odd),
            "missing": sorted(records.keys() - found),
            "not in the manifest": sorted(found - records.keys()),
        }
        said = [f"{what}: {listed(names)}" for what, names in complaints.items() if names]
        if said:
            raise LineageError(f"{self.path}: {'; '.join(said)}. Restore the bundle or make it again")

    def require_subject(self, subject: str) -> None:
        """Raises BundleError, with the command that makes it, for a model or an engine that is not here."""
        subjects = self.manifest.subjects()
        if subject in subjects:
            return
        if subject == MODEL:
            raise BundleError(f"{self.path} holds no {MODEL}/; make it with `pruneguard train --out {self.path}`")
        remake = f"`pruneguard export --onnx --bundle {self.path}`"
        if self.format < FORMAT:
            raise BundleError(f"{self.path} has format {self.format}, whose engines do not run any more; run {remake}")
        engines = [name for name in subjects if name != MODEL]
        if not engines:
            raise BundleError(f"{self.path} holds no engine; make one with {remake}")
        raise BundleError(f"{self.path} has no engine {subject!r}: {nearest(subject, engines)}")

    def require_engine(self, name: str) -> None:
        """Raises BundleError for an engine that is not here, with the nearest names or the command that makes one."""
        if name == MODEL:
            engines = list(self.manifest.engines)
            raise BundleError(f"{self.path}: {MODEL!r} is the torch model, not an engine; {nearest(name, engines)}")
        self.require_subject(name)

    def digests(self, subject: str) -> dict[str, str]:
        """Path -> SHA-256 of all files of a subject: what an audit of it must name. Empty if it is not here."""
        return subject_digests(self.manifest, subject)

    def require_audits(
        self, subject: str, concepts: Iterable[str] = (), *, limit: float = 1.0, unet: str = DEFAULT_UNET
    ) -> tuple[Audit, ...]:
        """The audits of the policy's concepts and of `concepts`, each passed, and of these files and settings.

        `limit` is the largest upper bound of a rate that the caller lets pass if the policy is laxer. Raises
        BundleError for a subject that is not here, LineageError for an audit that is missing or does not hold,
        AuditError for a failure, and InvalidAuditError for an audit that shows nothing.
        """
        self.require_subject(subject)
        manifest = self.manifest
        return tuple(
            self._require_audit(subject, concept, min(limit, manifest.policy.limit), unet)
            for concept in dict.fromkeys([*manifest.policy.concepts, *concepts])
        )

    def _require_audit(self, subject: str, concept: str, limit: float, unet: str) -> Audit:
        manifest, where = self.manifest, f"{self.path}, {subject}: {concept!r}"
        again = f"run `pruneguard audit --subject {subject} --bundle {self.path}`"
        audit = manifest.audit(subject, concept, unet)
        if audit is None:
            if concept not in manifest.policy.concepts:
                again = f"suppress it with `pruneguard train --concepts {concept}` and export that"
            raise LineageError(f"{where} was never audited; {again}")
        judgement = audit.judgement(limit)
        if judgement.status == "invalid":
            raise InvalidAuditError(f"{where} has an audit that shows nothing: {judgement.reason}; {again}")
        if not audit.passed or judgement.status != "passed":
            raise AuditError(
                f"{where} failed its audit ({judgement.reason or 'as it was recorded'}); train it again with more "
                "--steps and export that, or audit it on twice as many pictures: no option serves it as it is"
            )
        files = manifest.files
        same = all(path in files and files[path].sha256 == digest for path, digest in audit.digests.items())
        if not same or not self.digests(subject).items() <= audit.digests.items():
            raise LineageError(f"{where} was audited on other files than these; {again}")
        if audit.settings != settings_digest(manifest, subject):
            raise LineageError(f"{where} was audited with other settings than the bundle has now; {again}")
        return audit


def subject_digests(manifest: Manifest, subject: str) -> dict[str, str]:
    """Path -> SHA-256 of the files of the model or of an engine, as the manifest lists them."""
    return {path: manifest.files[path].sha256 for path in subject_files(manifest, subject, manifest.files)}


def subject_files(manifest: Manifest, subject: str, paths: Iterable[str]) -> list[str]:
    """Those of `paths` that belong to the model or to an engine, in order."""
    engine = manifest.engines.get(subject)
    places = [MODEL] if subject == MODEL else engine.files if engine else []
    return sorted(path for path in paths if any(path == place or path.startswith(f"{place}/") for place in places))


def _recover(folder: Path) -> None:
    """Restores the old bundle of a writer that died between its two renames."""
    from pruneguard.staging import RETIRED, locked, recover, siblings

    if siblings(folder, RETIRED):
        with contextlib.suppress(OSError), locked(folder.parent):
            recover(folder)
