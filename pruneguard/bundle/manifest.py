"""The manifest of a bundle as values: what was done, what it measured, and the digest of every file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pruneguard.errors import BundleError

FORMAT = 1
MANIFEST = "bundle.json"
SUBJECTS = ("model", "onnx")
LIMIT = 0.05  # the largest share of pictures showing a concept that passes, where a policy does not say

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileRecord:
    """Digest (SHA-256, hexadecimal) and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Stage:
    """One stage of the way from a dense model to an engine: what went in, what came out, what it measured."""

    name: str
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """A measured suppression of one concept; `digests` (path -> SHA-256) name the weights that were measured."""

    concept: str
    subject: str
    target_rate: float
    limit: float
    passed: bool
    preserved: dict[str, float]
    images: int
    digests: dict[str, str]
    detector: str = ""
    target_images: int = 0
    """How many of `images` asked for the concept."""
    seed: int = 0


@dataclass(frozen=True)
class Manifest:
    """The content of `bundle.json`."""

    format: int = FORMAT
    stages: tuple[Stage, ...] = ()
    files: dict[str, FileRecord] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    concepts: dict[str, dict[str, Any]] = field(default_factory=dict)
    audits: tuple[Audit, ...] = ()
    macs: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=lambda: {"concepts": [], "limit": LIMIT})

    @property
    def policy_concepts(self) -> tuple[str, ...]:
        """The concepts that the bundle's policy says are suppressed."""
        return tuple(self.policy["concepts"])

    @property
    def policy_limit(self) -> float:
        """The largest target rate that the policy lets pass."""
        return float(self.policy.get("limit", LIMIT))


def dump_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON: sorted keys, two spaces, no NaN. Raises BundleError for what JSON cannot carry."""
    try:
        text = json.dumps(asdict(manifest), sort_keys=True, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{MANIFEST}: a value cannot be written as JSON ({error}); record plain finite data"
        ) from error
    parse_manifest(text.encode(), MANIFEST)
    return text.encode() + b"\n"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in `data`, checked strictly; `where` names the file in errors. Raises BundleError."""
    try:
        document = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{where} is not valid JSON ({error}): it was cut off or edited; copy the bundle again or rerun its stage"
        ) from error
    if not isinstance(document, dict):
        raise _invalid(where, "", "an object", document)
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise _invalid(where, "format", f"the number {FORMAT}", version)
    if version > FORMAT:
        raise BundleError(
            f"{where} has format {version}, this pruneguard reads up to {FORMAT}; install a newer pruneguard"
        )
    _require_keys(document, {entry.name for entry in fields(Manifest)}, where, "")
    policy = _object(document, "policy", where)
    _strings(policy.get("concepts"), where, "policy.concepts")
    _check(policy.get("limit", LIMIT), _is_share, "a number from 0 to 1", where, "policy.limit")
    manifest = Manifest(
        format=version,
        stages=tuple(_stage(item, where, f"stages[{i}]") for i, item in enumerate(_list(document, "stages", where))),
        files={
            check_relative(path, where): _file_record(item, where, f"files[{path!r}]")
            for path, item in _object(document, "files", where).items()
        },
        sampler=_object(document, "sampler", where),
        concepts={
            name: _typed(item, dict, where, f"concepts[{name!r}]")
            for name, item in _object(document, "concepts", where).items()
        },
        audits=tuple(_audit(item, where, f"audits[{i}]") for i, item in enumerate(_list(document, "audits", where))),
        macs=_object(document, "macs", where),
        policy=policy,
    )
    if len({(audit.concept, audit.subject) for audit in manifest.audits}) != len(manifest.audits):
        raise _invalid(where, "audits", "at most one audit for a concept and a subject", "a repeated one")
    return manifest


def check_relative(path: object, where: str) -> str:
    """`path` if it is a plain relative POSIX path that stays inside its folder; BundleError otherwise."""
    if isinstance(path, str) and path and "\\" not in path and "\0" not in path and ":" not in path:
        parts = path.split("/")
        if all(part not in ("", ".", "..") for part in parts):
            return path
    raise BundleError(f"{where}: {path!r} is not a relative path inside the bundle; make the bundle again")


def _stage(item: object, where: str, at: str) -> Stage:
    record = _typed(item, dict, where, at)
    _require_keys(record, {entry.name for entry in fields(Stage)}, where, at)
    _typed(record["name"], str, where, f"{at}.name")
    _strings(record["outputs"], where, f"{at}.outputs")
    for name in ("inputs", "settings", "seeds", "versions", "metrics"):
        _typed(record[name], dict, where, f"{at}.{name}")
    return Stage(**record)


def _audit(item: object, where: str, at: str) -> Audit:
    record = _typed(item, dict, where, at)
    _require_keys(record, {entry.name for entry in fields(Audit)}, where, at)
    _typed(record["concept"], str, where, f"{at}.concept")
    if record["subject"] not in SUBJECTS:
        raise _invalid(where, f"{at}.subject", "one of " + ", ".join(SUBJECTS), record["subject"])
    _typed(record["passed"], bool, where, f"{at}.passed")
    _typed(record["detector"], str, where, f"{at}.detector")
    for name in ("images", "target_images", "seed"):
        _check(record[name], _is_count, "a whole number", where, f"{at}.{name}")
    for name in ("target_rate", "limit"):
        _check(record[name], _is_finite, "a finite number", where, f"{at}.{name}")
    for name, value in _typed(record["preserved"], dict, where, f"{at}.preserved").items():
        _check(value, _is_finite, "a finite number", where, f"{at}.preserved[{name!r}]")
    for path, digest in _typed(record["digests"], dict, where, f"{at}.digests").items():
        check_relative(path, where)
        _check(digest, _is_digest, "a SHA-256 digest", where, f"{at}.digests[{path!r}]")
    return Audit(**record)


def _file_record(item: object, where: str, at: str) -> FileRecord:
    record = _typed(item, dict, where, at)
    _require_keys(record, {"sha256", "size"}, where, at)
    _check(record["sha256"], _is_digest, "a SHA-256 digest", where, f"{at}.sha256")
    _check(record["size"], _is_count, "a whole number", where, f"{at}.size")
    return FileRecord(**record)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_share(value: object) -> bool:
    return _is_finite(value) and 0 <= value <= 1  # type: ignore[operator]


def _check(value: object, test: Callable[[object], bool], wanted: str, where: str, at: str) -> None:
    if not test(value):
        raise _invalid(where, at, wanted, value)


def _typed(value: Any, kind: type, where: str, at: str) -> Any:
    if type(value) is not kind:
        names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
        raise _invalid(where, at, names[kind], value)
    return value


def _object(document: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value: dict[str, Any] = _typed(document[key], dict, where, key)
    return value


def _list(document: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value: list[Any] = _typed(document[key], list, where, key)
    return value


def _strings(value: object, where: str, at: str) -> None:
    for entry in _typed(value, list, where, at):
        _typed(entry, str, where, at)


def _require_keys(record: Mapping[str, Any], names: set[str], where: str, at: str) -> None:
    if wrong := names.symmetric_difference(record):
        named = ", ".join(sorted(wrong))
        raise BundleError(f"{where}: {at or 'the manifest'} lacks or does not know: {named}; make the bundle again")


def _invalid(where: str, at: str, wanted: str, got: object) -> BundleError:
    return BundleError(
        f"{where}: {at or 'the manifest'} must be {wanted}, not {str(got)[:60]!r}; make the bundle again"
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return record
