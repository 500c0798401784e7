"""Engines on ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.bundle import MANIFEST, Bundle
from pruneguard.errors import BundleError, ConfigError

from ..sampling.tokens import ClipTokenizer, text_length
from .engine import Components, EngineError, SamplerSettings
from .external_data import check_external_data

FOLDER = "onnx"
INTERFACES = {
    "text_encoder": ({"input_ids"}, "last_hidden_state"),
    "unet": ({"sample", "timestep", "encoder_hidden_states"}, "out_sample"),
    "vae_decoder": ({"latent_sample"}, "sample"),
}
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxEngine:
    """An ONNX model in a session; inputs are cast to the types the model declares. Safe to share between threads."""

    def __init__(
        self, path: Path, *, threads: int | None = None, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        self.path = path
        self._session = _open_session(path, threads, list(providers))
        self._threads = threads
        self._inputs = {entry.name: _dtype(path, entry) for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises EngineError if the session refuses the inputs or fails."""
        if inputs.keys() != self._inputs.keys():
            raise EngineError(f"{self.path} takes {', '.join(sorted(self._inputs))}, not {', '.join(sorted(inputs))}")
        feed = {name: np.asarray(value, dtype=self._inputs[name]) for name, value in inputs.items()}
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors share no base class
            raise EngineError(f"{self.path} failed: {_one_line(error)}") from error
        return dict(zip(self._outputs, outputs, strict=True))

    def describe(self) -> dict[str, Any]:
        import onnxruntime

        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "providers": self._session.get_providers(),
            "threads": self._threads,
            "inputs": {name: np.dtype(dtype).name for name, dtype in self._inputs.items()},
        }

    @property
    def interface(self) -> tuple[set[str], set[str]]:
        return set(self._inputs), set(self._outputs)


def onnx_components(
    source: Path | str | Bundle,
    *,
    sampler: Mapping[str, Any] | SamplerSettings | None = None,
    threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
) -> Components:
    """Loads the engines of a bundle, or of a folder in the layout of optimum's ONNX pipelines; digests are not checked.

    A bare folder's sampler settings come from `sampler`, or from the configuration files beside its engines. `threads`
    is the number of threads inside one operator (None: ONNX Runtime's choice). Raises BundleError and ConfigError.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ConfigError(f"threads must be a whole number from 1, not {threads!r}")
    if not isinstance(source, Bundle) and (Path(source) / MANIFEST).exists():
        source = Bundle.open(source)
    listed = None
    if isinstance(source, Bundle):
        listed = frozenset(source.manifest.files)
        sampler = source.manifest.sampler if sampler is None else sampler
        folder = source.path / FOLDER
    else:
        folder = Path(source)
    settings = read_settings(folder) if sampler is None else sampler
    if not isinstance(settings, SamplerSettings):
        settings = SamplerSettings.from_dict(settings)
    tokenizer = ClipTokenizer.from_folder(folder / "tokenizer", settings.text_tokens)
    engines = {name: _load(folder, name, listed, threads, providers) for name in INTERFACES}
    return Components(**engines, tokenizer=tokenizer, sampler=settings)


def read_settings(folder: Path) -> SamplerSettings:
    """The sampler settings that the configuration files of an optimum-style folder give. Raises BundleError."""
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    unet = _read_json(folder / "unet" / "config.json")
    vae = _read_json(folder / "vae_decoder" / "config.json")
    text = _read_json(folder / "text_encoder" / "config.json")
    named = folder / "tokenizer" / "tokenizer_config.json"
    tokenizer = _read_json(named) if named.is_file() else {}
    try:
        return SamplerSettings(
            scheduler=scheduler,
            latent_channels=unet["in_channels"],
            latent_size=unet["sample_size"],
            vae_scale=2 ** (len(vae["block_out_channels"]) - 1),
            scaling_factor=vae.get("scaling_factor", 0.18215),
            text_tokens=text_length(tokenizer.get("model_max_length"), text["max_position_embeddings"]),
            prediction_type=scheduler.get("prediction_type", "epsilon"),
        )
    except KeyError as error:
        raise BundleError(
            f"{folder}: its configuration files lack {error}; export it again or give `sampler`"
        ) from error


def _load(
    folder: Path, name: str, listed: frozenset[str] | None, threads: int | None, providers: Sequence[str]
) -> OnnxEngine:
    path = folder / name / "model.onnx"
    if not path.is_file():
        raise BundleError(f"{path} is missing; make it with `pruneguard export --onnx`")
    prefix = f"{FOLDER}/{name}/"
    check_external_data(path, None if listed is None else frozenset(entry.removeprefix(prefix) for entry in listed))
    engine = OnnxEngine(path, threads=threads, providers=providers)
    inputs, output = INTERFACES[name]
    if engine.interface[0] != inputs or output not in engine.interface[1]:
        raise BundleError(f"{path} does not have the inputs and outputs of a {name}; export it again")
    return engine


def _open_session(path: Path, threads: int | None, providers: list[str]) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("no ONNX Runtime here; install it with `pip install pruneguard[cpu]` (or [gpu])") from error
    onnxruntime.set_default_logger_severity(3)
    if missing := set(providers) - set(onnxruntime.get_available_providers()):
        known = ", ".join(onnxruntime.get_available_providers())
        raise ConfigError(f"providers: {', '.join(sorted(missing))} not in this ONNX Runtime, which has {known}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads must not burn the cores of the server around us, and memory of a large batch must go back to it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no base class
        raise BundleError(f"{path} cannot be loaded ({_one_line(error)}); export it again") from error


def _dtype(path: Path, entry: Any) -> type[np.generic]:
    if entry.type not in _DTYPES:
        raise BundleError(f"{path}: input {entry.name} has type {entry.type}, which the runtime cannot feed")
    return _DTYPES[entry.type]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is missing or not valid JSON; export it again or give `sampler`") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} must hold a JSON object; export it again")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
