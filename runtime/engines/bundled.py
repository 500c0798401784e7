"""The engines of a bundle: which one to serve, and its components."""

from __future__ import annotations

from collections.abc import Sequence

from pruneguard.bundle import DEFAULT_UNET, Bundle, EngineRecord, Manifest, PrivateCopy
from pruneguard.errors import BundleError, ConfigError, PruneguardError
from pruneguard.measurement import find

from ..sampling.coding import check_prompts_differ
from ..sampling.memory import Footprint
from ..sampling.settings import SamplerSettings
from ..sampling.tokens import ClipTokenizer
from .backend import BACKENDS, COMPONENTS, EngineOptions
from .deadline import DEADLINE_S
from .engine import Components, Engine

LATENCY = "latency/image"
"""The measurement of an engine by which engines are compared, in milliseconds."""


def engine_components(
    bundle: Bundle,
    name: str,
    *,
    threads: int | None = None,
    deadline_s: float = DEADLINE_S,
    unet: str = DEFAULT_UNET,
) -> Components:
    """The components of an engine, after every file of the bundle was verified: what was hashed is what is loaded.

    Audits are not checked. `threads` and `deadline_s` are those of `EngineOptions`. `unet` names one of the bundle's
    UNets. Raises LineageError for files that changed, ConfigError for a backend that cannot run here, BundleError, and
    EngineError for a text encoder that gives two prompts the same states.
    """
    bundle.require_engine(name)
    with bundle.verified(name) as files:
        components = open_engine(files, bundle.manifest, name, threads=threads, deadline_s=deadline_s, unet=unet)
    check_prompts_differ(components)
    return components


def open_engine(
    files: PrivateCopy,
    manifest: Manifest,
    name: str,
    *,
    threads: int | None = None,
    deadline_s: float = DEADLINE_S,
    unet: str = DEFAULT_UNET,
) -> Components:
    """The components of an engine from a private copy of its files, named by their paths in the bundle.

    Raises ConfigError for a backend that cannot run here, and BundleError.
    """
    record = manifest.engines[name]
    options = _options(record, threads, deadline_s)
    backend = BACKENDS.find(record.backend).build()
    if reason := backend.usable(options):
        raise ConfigError(f"engine {name!r}: {reason}")
    settings = SamplerSettings.from_dict(manifest.sampler)
    tokenizer = ClipTokenizer.from_files(files.part(record.tokenizer), settings.text_tokens)
    engines: dict[str, Engine] = {}
    for component in COMPONENTS:
        key = f"unet/{unet}" if component == "unet" and unet != DEFAULT_UNET else component
        if key not in record.components:
            raise BundleError(f"{files.source}: engine {name!r} has no {key}; export it again")
        engines[component] = backend.open(files.part(record.components[key]), component, options)
    footprint = Footprint.read(record.measurements)
    return Components(**engines, tokenizer=tokenizer, sampler=settings, footprint=footprint)


def choose_engine(bundle: Bundle, required: Sequence[str] = (), *, limit: float = 1.0) -> str:
    """The name of an engine that this machine can run and that passed its audits.

    It is the fastest of the engines whose record has a latency; engines without one come after these, by name.
    `required` and `limit` are as in `Bundle.require_audits`. Raises the reason of a single engine, and BundleError with
    all reasons if there are more.
    """
    engines = bundle.manifest.engines
    if not engines:
        bundle.require_subject("onnx")
    reasons: dict[str, PruneguardError] = {}
    for name in sorted(engines, key=lambda name: _latency(engines[name])):
        try:
            bundle.require_audits(name, required, limit=limit)
            if reason := BACKENDS.find(engines[name].backend).build().usable(_options(engines[name])):
                raise ConfigError(f"engine {name!r}: {reason}")
        except PruneguardError as error:
            reasons[name] = error
            continue
        return name
    if len(reasons) == 1:
        raise next(iter(reasons.values()))
    raise BundleError(f"{bundle.path}: no engine can be served: {'; '.join(str(error) for error in reasons.values())}")


def _latency(record: EngineRecord) -> float:
    measured = find(record.measurements, LATENCY)
    return measured.value if measured else float("inf")


def _options(record: EngineRecord, threads: int | None = None, deadline_s: float = DEADLINE_S) -> EngineOptions:
    return EngineOptions(provider=record.provider, threads=threads, deadline_s=deadline_s, own=record.options)
