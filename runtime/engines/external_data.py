"""Finds the files from which an ONNX model reads its weights, without the onnx package.

The search walks the protobuf wire format, visits every tensor of a model (initialisers, attributes, subgraphs,
functions) and skips the weights themselves. The locations are checked before ONNX Runtime sees the model, so that it
opens nothing but the private copy.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from pruneguard.bundle import PrivateCopy
from pruneguard.errors import BundleError

# The fields of onnx.proto that lead to tensors: message -> {field number: message}.
_CHILDREN: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 100


def external_locations(files: PrivateCopy, graph: str) -> set[str]:
    """The locations of external data that the model `graph` names, relative to its folder and all among `files`.

    Raises BundleError for a file that is not a whole ONNX model, and for a location outside `files`.
    """
    model = files.source / graph
    try:
        with _opened(files, graph) as data:
            locations = set(_locations(data, 0, len(data), "Model", 0))
    except (ValueError, IndexError, OSError) as error:
        raise BundleError(f"{model} is not a whole ONNX model ({error}); copy it again or export it again") from error
    for location in sorted(locations):
        inside = PurePosixPath(location)
        if not location or inside.is_absolute() or ".." in inside.parts or "\\" in location:
            raise BundleError(f"{model} draws data from {location!r}, outside its folder; export it again")
        if str(inside) not in files:
            why = "which is missing, a link or not in the manifest"
            raise BundleError(f"{model} draws data from {location!r}, {why}; export it again")
    return locations


@contextlib.contextmanager
def _opened(files: PrivateCopy, graph: str) -> Iterator[bytes | mmap.mmap]:
    if files.in_memory or graph not in files:
        yield files.read(graph)
        return
    with (
        files.on_disk() as folder,
        (folder / graph).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        yield data


def _locations(data: bytes | mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    children = _CHILDREN[message]
    for number, first, last in _blocks(data, start, end):
        child = children.get(number)
        if child == "Entry":
            entry = {field: data[a:b] for field, a, b in _blocks(data, first, last)}
            if entry.get(_KEY) == b"location":
                yield entry.get(_VALUE, b"").decode()
        elif child is not None:
            yield from _locations(data, first, last, child, depth + 1)


def _blocks(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of the message in data[start:end]."""
    at = start
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("cut off")
            yield tag >> 3, at, at + size
            at += size
        else:
            raise ValueError(f"wire type {kind}")
    if at != end:
        raise ValueError("cut off")


def _varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
