"""Private copies of files: what was hashed is what is loaded, whatever happens to the files meanwhile.

A file on disk can be exchanged, overwritten through an older mapping, or cut short at any time, also after a library
has mapped it. A private copy holds the bytes that were read: in memory if they are few, otherwise in a folder that only
this user may enter and that is removed after loading.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruneguard.bundle.files import TEXT_LIMIT, listed, parse_json, read_file, scan
from pruneguard.bundle.manifest import FileRecord
from pruneguard.errors import BundleError

IN_MEMORY = 64 << 20
"""The most bytes of one private copy that are held in memory; a larger one lies on disk, below TMPDIR."""


@dataclass(frozen=True)
class PrivateCopy:
    """The content of the files below `source`, by their path relative to it.

    `records` has the size and digest of each as it was read. Nothing checks them here.
    """

    source: Path
    records: Mapping[str, FileRecord]
    _contents: Mapping[str, bytes] = field(repr=False)
    _folder: Path | None

    def __contains__(self, name: str) -> bool:
        return name in self.records

    @property
    def in_memory(self) -> bool:
        """Whether the content is held in memory; otherwise `on_disk` gives it without writing anything."""
        return self._folder is None

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The content of one file. Raises BundleError for a file that is not here or has more than `limit` bytes."""
        if name not in self.records:
            raise BundleError(f"{self.source / name} is missing or is a link; export it again")
        if limit is not None and self.records[name].size > limit:
            raise BundleError(f"{self.source / name} is larger than {limit >> 20} MiB; export it again")
        return self._contents[name] if self._folder is None else (self._folder / name).read_bytes()

    def read_json(self, name: str) -> dict[str, Any]:
        """The JSON object in one file. Raises BundleError, also for a file of more than 16 MiB."""
        return parse_json(self.read(name, TEXT_LIMIT), str(self.source / name))

    def part(self, place: str) -> PrivateCopy:
        """The files below the folder `place`."""
        start = f"{place}/"
        return PrivateCopy(
            self.source / place,
            {name.removeprefix(start): record for name, record in self.records.items() if name.startswith(start)},
            {name.removeprefix(start): data for name, data in self._contents.items() if name.startswith(start)},
            self._folder / place if self._folder else None,
        )

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A private folder with the files, for a library that reads paths. It is removed after loading.

        What the library has mapped stays, because nobody can open a removed file. Raises BundleError.
        """
        if self._folder is not None:
            yield self._folder
            return
        with _private_folder() as folder:
            for name, data in self._contents.items():
                with _disk_file(folder / name) as file:
                    file.write(data)
            yield folder


@contextlib.contextmanager
def copy_files(source: Path, sizes: Mapping[str, int]) -> Iterator[PrivateCopy]:
    """Reads each file once, up to a size that is expected, into a private copy, which ends with the block.

    `sizes` maps paths relative to `source` to bytes. Raises OSError for a file that cannot be read or is no plain file,
    and BundleError if the copy cannot be written.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_private_folder()) if sum(sizes.values()) > IN_MEMORY else None
        records: dict[str, FileRecord] = {}
        contents: dict[str, bytes] = {}
        for name, size in sizes.items():
            if folder is not None:
                with _disk_file(folder / name) as file:
                    records[name] = read_file(source / name, file.write, limit=size)[0]
                continue
            held = io.BytesIO()
            records[name] = read_file(source / name, held.write, limit=size)[0]
            contents[name] = held.getvalue()
        yield PrivateCopy(source, records, contents, folder)


@contextlib.contextmanager
def copy_folder(source: Path) -> Iterator[PrivateCopy]:
    """A private copy of all files below a folder without a manifest. Raises BundleError, also for links and pipes."""
    with contextlib.ExitStack() as stack:
        try:
            found, odd = scan(source)
            if odd:
                raise BundleError(f"{source}: links or special files: {listed(sorted(odd))}; copy what they lead to")
            sizes = {name: (source / name).lstat().st_size for name in sorted(found)}
            files = stack.enter_context(copy_files(source, sizes))
        except OSError as error:
            where, reason = error.filename or source, error.strerror or error
            raise BundleError(f"{where} cannot be read ({reason}); check it or copy it again") from error
        yield files


class _PrivateFile:
    """A new file whose failures to write are BundleErrors, so that they differ from failures to read another file."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise _no_room(error) from error


@contextlib.contextmanager
def _disk_file(path: Path) -> Iterator[_PrivateFile]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.FileIO(path, "xb")
    except OSError as error:
        raise _no_room(error) from error
    with file:
        yield _PrivateFile(file)


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="pruneguard-"))  # only its owner may enter
    except OSError as error:
        raise _no_room(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(error: OSError) -> BundleError:
    where, reason = tempfile.gettempdir(), error.strerror or error
    return BundleError(
        f"the files cannot be copied to {where} ({reason}); free some space or name another folder by TMPDIR"
    )
