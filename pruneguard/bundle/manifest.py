"""The manifest of a bundle: what was done, what it measured, its engines, and the digest of every file.

This module holds format 2. `formats` reads earlier ones. A field that a later version adds has a default, so that it
does not break an earlier bundle.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from pruneguard.bundle.judgement import DRAWN, FLOOR, IMPLICIT, KEEP, Judgement, judge
from pruneguard.bundle.space import Space, space_of
from pruneguard.errors import BundleError, ConfigError
from pruneguard.measurement import Measurement, find
from pruneguard.settings import plain

FORMAT = 2
MANIFEST = "bundle.json"
MANIFEST_LIMIT = 16 << 20
"""The most bytes of a manifest: parsed JSON takes some twenty times its size in memory."""
MODEL = "model"
"""The subject of an audit of the torch model, and its folder."""
DEFAULT_UNET = "default"
LIMIT = 0.05
"""The largest upper bound of the rate of a concept that passes, if a policy does not say."""

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Size = Annotated[int, msgspec.Meta(ge=0)]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SHA-256 digest (hexadecimal) and size in bytes of one file."""

    sha256: Digest
    size: Size


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stage between a dense model and an engine: its inputs, outputs, settings and measurements."""

    name: str
    inputs: dict[str, Any] = {}
    outputs: list[str] = []
    settings: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    versions: dict[str, str] = {}
    measurements: list[Measurement] = []


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The measured suppression of one concept by one subject: the model or an engine.

    `digests` (path -> SHA-256) are the measured files, `settings` is the digest of the settings of the measurement. The
    audit is valid for these files and settings only. `control` is what the teacher gave with the same prompts, whose
    digest is `prompts`, and the same seeds. `passed` is the judgement at the time of the audit, by `limit`, `floor` and
    `keep`; whoever serves the subject judges the measurements again. `space` is the space of settings that the pictures
    cover; in an earlier record without one they cover the sampler's own settings only.
    """

    concept: str
    subject: str
    unet: str = DEFAULT_UNET
    limit: Share
    passed: bool
    measurements: list[Measurement] = []
    control: list[Measurement] = []
    floor: Share = FLOOR
    keep: Share = KEEP
    prompts: Digest | None = None
    space: Space | None = None
    digests: dict[str, Digest] = {}
    settings: Digest | None = None

    def judgement(self, limit: float | None = None) -> Judgement:
        """What the measurements show, by the audit's own limit or by another one."""
        for name in (DRAWN, IMPLICIT):
            rate = find(self.measurements, name)
            if self.space is not None and rate is not None and space_of(rate.protocol.settings) != self.space:
                return Judgement("invalid", "its record names another space of settings than its rates")
        allowed = self.limit if limit is None else limit
        return judge(self.measurements, self.control, limit=allowed, floor=self.floor, keep=self.keep)

    @property
    def drawn(self) -> Measurement:
        """The share of the pictures that ask for the concept and show it."""
        found = find(self.measurements, DRAWN)
        if found is None:
            raise BundleError(f"the audit of {self.subject!r} for {self.concept!r} has no rate; audit it again")
        return found


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine as data.

    `target` made it and `backend` runs it. `components` maps a component (`text_encoder`, `unet`, `vae_decoder`, and
    `unet/<name>` for further UNets) to its folder. `files` are all files that the engine reads; the path of a folder
    stands for everything below it. `tokenizer` is the folder of the tokenizer.
    """

    target: str
    backend: str
    precision: str = "fp32"
    provider: str = "cpu"
    options: dict[str, Any] = {}
    components: dict[str, str]
    tokenizer: str
    files: list[str]
    built_with: dict[str, str] = {}
    parity: list[Measurement] = []
    measurements: list[Measurement] = []

    def settings(self) -> dict[str, Any]:
        """The settings that determine how the engine computes, besides its files."""
        return {
            "target": self.target,
            "backend": self.backend,
            "precision": self.precision,
            "provider": self.provider,
            "options": self.options,
            "components": self.components,
            "tokenizer": self.tokenizer,
        }


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The concepts that the bundle says are suppressed, and the largest upper bound of their rate that passes."""

    concepts: list[str] = []
    limit: Share = LIMIT


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `bundle.json`. `unets` maps the name of each UNet of the model to its folder."""

    format: int = FORMAT
    family: str = ""
    stages: list[Stage] = []
    files: dict[str, FileRecord] = {}
    sampler: dict[str, Any] = {}
    concepts: dict[str, dict[str, Any]] = {}
    unets: dict[str, str] = {}
    engines: dict[str, EngineRecord] = {}
    audits: list[Audit] = []
    macs: dict[str, Any] = {}
    policy: Policy = Policy()

    def subjects(self) -> tuple[str, ...]:
        """The subjects of audits: the model, if there is one, and every engine."""
        model = (MODEL,) if any(path.startswith(f"{MODEL}/") for path in self.files) else ()
        return (*model, *self.engines)

    def audit(self, subject: str, concept: str, unet: str = DEFAULT_UNET) -> Audit | None:
        """The recorded audit of that subject and concept, or None."""
        key = (subject, concept, unet)
        return next((audit for audit in self.audits if (audit.subject, audit.concept, audit.unet) == key), None)


def settings_digest(manifest: Manifest, subject: str) -> str:
    """SHA-256 of all settings under which a subject draws: the sampler's, and the engine's own."""
    engine = manifest.engines[subject].settings() if subject in manifest.engines else {}
    text = json.dumps({"sampler": manifest.sampler, "engine": engine}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def dump_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON: sorted keys, two spaces, no NaN. Raises BundleError for a value that JSON cannot carry."""
    try:
        text = json.dumps(plain(manifest), sort_keys=True, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{MANIFEST}: a value cannot be written as JSON ({error}); record plain finite data"
        ) from error
    data = text.encode() + b"\n"
    if len(data) > MANIFEST_LIMIT:
        raise BundleError(f"{MANIFEST} would have {len(data) >> 20} MiB; record fewer values, at most 16 MiB")
    check_manifest(read_document(data, MANIFEST), MANIFEST)
    return data


def read_document(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`: no constants such as NaN, no repeated keys. Raises BundleError."""
    try:
        document = json.loads(
            data, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_keys
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{where} is not valid JSON ({error}): it was cut off or edited; copy the bundle again or rerun its stage"
        ) from error
    if not isinstance(document, dict):
        raise BundleError(f"{where} must hold a JSON object; make the bundle again")
    return document


def check_manifest(document: Mapping[str, Any], where: str) -> Manifest:
    """The manifest of a format 2 document, checked. Raises BundleError naming the field that is wrong."""
    try:
        manifest = msgspec.convert(document, Manifest, strict=True)
    except (msgspec.ValidationError, ConfigError, UnicodeEncodeError) as error:  # the last one: half a surrogate pair
        raise BundleError(f"{where}: {_plainly(error)}; make the bundle again, or install a newer pruneguard") from None
    keys = [(audit.concept, audit.subject, audit.unet) for audit in manifest.audits]
    if len(set(keys)) != len(keys):
        raise BundleError(f"{where}: audits hold one concept of one subject twice; make the bundle again")
    paths = [*manifest.files, *manifest.unets.values()]
    for name, engine in manifest.engines.items():
        check_engine_name(name, where)
        reads = [*engine.components.values(), engine.tokenizer]
        for path in (*reads, *engine.files):
            check_relative(path, where)
        for path in reads:
            if not any(path == place or path.startswith(f"{place}/") for place in engine.files):
                raise BundleError(f"{where}: engine {name!r} reads {path!r}, which its files do not cover; export it")
    paths += [path for audit in manifest.audits for path in audit.digests]
    for path in paths:
        check_relative(path, where)
    return manifest


def check_engine_name(name: str, where: str) -> str:
    """`name` if an engine may have it. Raises BundleError otherwise."""
    if _NAME.fullmatch(name) and name != MODEL and ".." not in name:
        return name
    raise BundleError(f"{where}: {name!r} is not an engine's name; use lower-case letters, digits, dots and hyphens")


def check_relative(path: object, where: str) -> str:
    """`path` if it is a plain relative POSIX path that stays inside its folder; BundleError otherwise."""
    if isinstance(path, str) and path and "\\" not in path and "\0" not in path and ":" not in path:
        parts = path.split("/")
        if all(part not in ("", ".", "..") for part in parts):
            return path
    raise BundleError(f"{where}: {path!r} is not a relative path inside the bundle; make the bundle again")


def _plainly(error: Exception) -> str:
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    return f"`{path}`: {text}" if path else text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond the range of numbers")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return record
