"""Engines on ONNX Runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.bundle import MANIFEST, PrivateCopy, copy_folder, read_json
from pruneguard.errors import BundleError, ConfigError

from ..sampling.settings import SamplerSettings, vae_scale
from ..sampling.solver import read_scheduler
from ..sampling.tokens import text_length
from .backend import BACKENDS, EngineOptions, open_components
from .deadline import DEADLINE_S, Deadline
from .engine import Components, EngineError
from .external_data import external_locations

GRAPH = "model.onnx"
INTERFACES = {
    "text_encoder": ({"input_ids"}, "last_hidden_state"),
    "unet": ({"sample", "timestep", "encoder_hidden_states"}, "out_sample"),
    "vae_decoder": ({"latent_sample"}, "sample"),
}
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_INSTALL = "install it with `pip install pruneguard[cpu]` (or [gpu])"
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxEngine:
    """An ONNX model in a session; inputs are cast to the types that the model declares. Threads may share it.

    `providers` are ONNX Runtime's execution providers; the session must run on the first one. A call that lasts longer
    than `deadline_s` seconds is stopped after the operator that runs then; a `Loop` is stopped between two turns.
    """

    def __init__(
        self,
        files: PrivateCopy,
        *,
        threads: int | None = None,
        providers: Sequence[str] = PROVIDERS["cpu"],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Loads `model.onnx` of `files`; data outside `files` is refused.

        Raises BundleError for a file that cannot be loaded, and ConfigError for a provider that is not there or a wrong
        deadline.
        """
        self._deadline = Deadline(deadline_s)
        self.path = files.source / GRAPH
        if GRAPH not in files:
            raise BundleError(f"{self.path} is missing or is a link; make it with `pruneguard export --onnx`")
        self._session = _open_session(files, threads, list(providers))
        self._threads = threads
        self._ports = {entry.name: (entry.type, len(entry.shape)) for entry in self._session.get_inputs()}
        self._inputs = {entry.name: _dtype(self.path, entry) for entry in self._session.get_inputs()}
        self._outputs = [entry.name for entry in self._session.get_outputs()]

    @classmethod
    def from_folder(cls, folder: Path, **options: Any) -> OnnxEngine:
        """The engine of a folder without a manifest, with the options above. Raises BundleError and ConfigError."""
        with copy_folder(folder) as files:
            return cls(files, **options)

    def run(self, inputs: dict[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Raises EngineError for an output that the model lacks, and if the session refuses the inputs, fails, or does
        not end before its deadline.

        ONNX Runtime computes the whole graph each time, and fetches the named outputs only.
        """
        import onnxruntime

        if inputs.keys() != self._inputs.keys():
            raise EngineError(f"{self.path} takes {', '.join(sorted(self._inputs))}, not {', '.join(sorted(inputs))}")
        wanted = self._outputs if outputs is None else list(outputs)
        if absent := [name for name in wanted if name not in self._outputs]:
            raise EngineError(f"{self.path} has no output {absent[0]!r}; export it again")
        feed = {name: np.asarray(value, dtype=self._inputs[name]) for name, value in inputs.items()}
        settings, stopped = onnxruntime.RunOptions(), threading.Event()
        settings.log_severity_level = 4  # a call that is stopped is our error, not a message on the terminal

        def stop() -> None:
            stopped.set()
            settings.terminate = True

        try:
            with self._deadline.during(stop):
                found = self._session.run(wanted, feed, settings)
        except Exception as error:  # onnxruntime's errors share no base class
            if stopped.is_set():
                raise EngineError(
                    f"{self.path} was stopped: a call lasted longer than {self._deadline.seconds:g} s; export it again,"
                    " or give a smaller batch_size or a larger deadline_s"
                ) from error
            raise EngineError(f"{self.path} failed: {_one_line(error)}") from error
        return dict(zip(wanted, found, strict=True))

    def describe(self) -> dict[str, Any]:
        """Backend, version, providers, threads and input types, for reports."""
        import onnxruntime

        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "providers": self._session.get_providers(),
            "threads": self._threads,
            "inputs": {name: np.dtype(dtype).name for name, dtype in self._inputs.items()},
        }

    def check_interface(self, component: str) -> None:
        """Raises BundleError unless the model has the inputs and the one output of `component`.

        A further output is refused because ONNX Runtime would compute it in each call, whatever is fetched.
        """
        inputs, output = INTERFACES[component]
        if self._inputs.keys() != inputs or output not in self._outputs:
            raise BundleError(f"{self.path} does not have the inputs and outputs of a {component}; export it again")
        if further := [name for name in self._outputs if name != output]:
            raise BundleError(
                f"{self.path} has the output {further[0]!r} beside {output!r}, which every call would compute; make it"
                f" again with `pruneguard export --onnx --bundle {_bundle_of(self.path)}`"
            )
        if component == "unet" and self._ports["timestep"] != ("tensor(float)", 1):
            raise BundleError(
                f"{self.path} was exported for one timestep a call, and the runtime gives one float for each row; make"
                f" it again with `pruneguard export --onnx --bundle {_bundle_of(self.path)}`"
            )


@BACKENDS.register("onnxruntime")
class OnnxRuntime:
    """ONNX Runtime: a component is a folder with `model.onnx` and its external data."""

    def usable(self, options: EngineOptions) -> str | None:
        """Why ONNX Runtime cannot run here: it is not installed, or has no such provider."""
        if options.provider not in PROVIDERS:
            return f"provider must be {' or '.join(PROVIDERS)}, not {options.provider!r}"
        if find_spec("onnxruntime") is None:
            return f"no ONNX Runtime here; {_INSTALL}"
        import onnxruntime

        if missing := set(PROVIDERS[options.provider]) - set(onnxruntime.get_available_providers()):
            return f"this ONNX Runtime has no {', '.join(missing)}; install pruneguard[gpu] for provider 'cuda'"
        return None

    def open(self, files: PrivateCopy, component: str, options: EngineOptions) -> OnnxEngine:
        """Loads model.onnx. Raises BundleError, also for data outside the files."""
        engine = OnnxEngine(
            files,
            threads=options.threads,
            providers=PROVIDERS[options.provider],
            deadline_s=options.deadline_s,
        )
        engine.check_interface(component)
        return engine


def onnx_components(
    folder: Path | str,
    *,
    sampler: Mapping[str, Any] | SamplerSettings | None = None,
    threads: int | None = None,
    provider: str = "cpu",
    deadline_s: float = DEADLINE_S,
) -> Components:
    """The engines of a folder in the layout of optimum's ONNX pipelines, without a manifest.

    The sampler settings are `sampler`, or those of the configuration files beside the engines. `threads` is the number
    of threads inside one operator (None: ONNX Runtime's choice), `provider` the device, "cpu" or "cuda", `deadline_s`
    the seconds after which a call is stopped. Raises BundleError and ConfigError.
    """
    folder = Path(folder)
    options = EngineOptions(provider=provider, threads=threads, deadline_s=deadline_s)
    settings = read_settings(folder) if sampler is None else sampler
    if not isinstance(settings, SamplerSettings):
        settings = SamplerSettings.from_dict(settings)
    return open_components(folder, settings, options=options)


def read_settings(folder: Path) -> SamplerSettings:
    """The sampler settings that the configuration files of an optimum-style folder give.

    Raises BundleError for files that are missing or wrong, and ConfigError for a scheduler that no solver computes.
    """
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    unet = _read_json(folder / "unet" / "config.json")
    vae = _read_json(folder / "vae_decoder" / "config.json")
    text = _read_json(folder / "text_encoder" / "config.json")
    named = folder / "tokenizer" / "tokenizer_config.json"
    tokenizer = _read_json(named) if named.is_file() else {}
    solver, config = read_scheduler(scheduler)
    try:
        return SamplerSettings(
            scheduler=scheduler,
            latent_channels=unet["in_channels"],
            latent_size=unet["sample_size"],
            vae_scale=vae_scale(vae["block_out_channels"]),
            scaling_factor=vae.get("scaling_factor", 0.18215),
            text_tokens=text_length(tokenizer.get("model_max_length"), text["max_position_embeddings"]),
            prediction_type=config.prediction_type,
            solver=solver,
        )
    except KeyError as error:
        raise BundleError(
            f"{folder}: its configuration files lack {error}; export it again or give `sampler`"
        ) from error


def _open_session(files: PrivateCopy, threads: int | None, providers: list[str]) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"no ONNX Runtime here; {_INSTALL}") from error
    if missing := set(providers) - set(onnxruntime.get_available_providers()):
        known = ", ".join(onnxruntime.get_available_providers())
        raise ConfigError(f"providers: {', '.join(sorted(missing))} not in this ONNX Runtime, which has {known}")
    path = files.source / GRAPH
    within = external_locations(files, GRAPH)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; it must not appear on the terminal besides
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Idle threads must not spin on the host's cores, and memory of a large batch must be released after the call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    try:
        if files.in_memory and not within:
            session = onnxruntime.InferenceSession(files.read(GRAPH), options, providers=providers)
            session._model_bytes = None  # the wrapper keeps the weights a second time, for the fallback
        else:
            with files.on_disk() as folder:
                session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=providers)
    except BundleError:
        raise
    except Exception as error:  # onnxruntime's errors share no base class
        raise BundleError(f"{path} cannot be loaded ({_one_line(error)}); export it again") from error
    session.disable_fallback()  # to the CPU, after a provider failed in a call
    if session.get_providers()[:1] != providers[:1]:  # ONNX Runtime falls back to the CPU by itself
        raise ConfigError(f"{path}: {providers[0]} could not start here; check the driver, or use provider 'cpu'")
    return session


def _dtype(path: Path, entry: Any) -> type[np.generic]:
    if entry.type not in _DTYPES:
        raise BundleError(f"{path}: input {entry.name} has type {entry.type}, which the runtime cannot feed")
    return _DTYPES[entry.type]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"{path} cannot be read ({reason}); export it again or give `sampler`") from error


def _bundle_of(path: Path) -> Path:
    """The bundle that a file lies in, or the folder of its engines."""
    return next((folder for folder in path.parents if (folder / MANIFEST).is_file()), path.parent.parent)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
