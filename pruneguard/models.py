"""Models: the class of a pruned UNet, and the components of a Stable Diffusion pipeline with their loader."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from pruneguard import atelier
from pruneguard.errors import ConfigError, ModelError, PruneguardError
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.surgery import apply_plan
from pruneguard.runtime.engines.torch_engine import PipelineTokenizer
from pruneguard.runtime.sampling.settings import vae_scale
from pruneguard.runtime.sampling.tokens import PROBES, panics_as_errors, tell_apart, text_length
from pruneguard.sources import HUB_FILES, KINDS, download, is_hub_id
from pruneguard.staging import write_failure
from pruneguard.weights import check_files, check_sizes, check_tokenizer, check_weights, read_json

_AGAIN = "download the model again"


class PrunedUNet2DConditionModel(UNet2DConditionModel):  # type: ignore[misc]
    """The stock UNet with its pruning plan in the configuration, under `pruning_plan`.

    The constructor builds the stock architecture and prunes it. So all ways of making a diffusers model (`from_config`,
    `from_pretrained` with and without `low_cpu_mem_usage`) give the pruned shapes, and the model saves, loads and runs
    in a pipeline like any other. A saved pipeline names `pruneguard.PrunedUNet2DConditionModel`; diffusers can load it
    after `import pruneguard`. Raises ConfigError for a plan that does not fit the architecture.
    """

    def __init__(self, pruning_plan: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(**config)
        plan = PruningPlan.from_dict(pruning_plan or {})
        self.register_to_config(pruning_plan=plan.to_dict())
        apply_plan(self, plan, fold=False)  # the weights are loaded later

    @property
    def plan(self) -> PruningPlan:
        return PruningPlan.from_dict(self.config.pruning_plan)

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, plan: PruningPlan, *, fold: bool = True) -> Self:
        """A pruned copy of `unet`; `unet` itself is not changed. `fold` is that of `apply_plan`.

        Raises ConfigError for a plan that does not fit, and for a UNet that has a plan already: a plan's indices refer
        to the dense UNet.
        """
        if isinstance(unet, PrunedUNet2DConditionModel) and unet.plan != PruningPlan():
            raise ConfigError("this UNet has a pruning plan already; prune the dense UNet that it was made from")
        pruned = copy.deepcopy(unet)
        apply_plan(pruned, plan, fold=fold)
        config = {name: value for name, value in unet.config.items() if not name.startswith("_")}
        with torch.device("meta"):
            model = cls(**{**config, "pruning_plan": plan.to_dict()})
        model.load_state_dict(pruned.state_dict(), assign=True)
        model.train(unet.training)
        return model


def _signature() -> inspect.Signature:
    own = inspect.signature(PrunedUNet2DConditionModel.__init__).parameters
    stock = inspect.signature(UNet2DConditionModel.__init__).parameters
    return inspect.Signature([*stock.values(), own["pruning_plan"]])


# diffusers takes from the signature which entries of config.json belong to a class, and from the module where a saved
# pipeline's class is imported from.
PrunedUNet2DConditionModel.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
PrunedUNet2DConditionModel.__module__ = "pruneguard"


@dataclass
class Pipeline:
    """The components of a Stable Diffusion pipeline; training, export and audits run the steps themselves."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: Any
    source: str
    revision: str | None = None
    """The commit that was loaded, of a model from the hub."""
    safety_checker: bool = False
    """Whether the source has a safety checker, which is not loaded."""

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def latent_size(self) -> int:
        return int(self.unet.config.sample_size)

    @property
    def vae_scale(self) -> int:
        """Pixels of an image along one side for each element of the latents along that side."""
        return vae_scale(self.vae.config.block_out_channels)

    @property
    def prediction_type(self) -> str:
        return str(self.scheduler.config.prediction_type)

    @property
    def text_tokens(self) -> int:
        """The number of tokens to which a prompt is padded or cut."""
        return text_length(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return torch.device(self.unet.device)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Pipeline:
        """Moves the models in place, converts them to `dtype` if it is given, and returns the pipeline."""
        for model in (self.text_encoder, self.vae, self.unet):
            if dtype is None:
                model.to(device=device)
                continue
            # On a cast diffusers warns about modules that must stay in float32, even if the model has none.
            with nullcontext() if getattr(model, "_keep_in_fp32_modules", None) else quiet():
                model.to(device=device, dtype=dtype)
        return self

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Final hidden states (B, text_tokens, D) of the prompts, padded and cut to `text_tokens`.

        Raises ModelError if the tokenizer or the text encoder fails, and torch.OutOfMemoryError.
        """
        try:
            with panics_as_errors():
                tokens = self.tokenizer(
                    list(prompts),
                    padding="max_length",
                    max_length=self.text_tokens,
                    truncation=True,
                    return_tensors="pt",
                )
            states: Tensor = self.text_encoder(tokens.input_ids.to(self.text_encoder.device))[0]
        except (PruneguardError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # some wrong settings of a text encoder fail only when it runs
            raise ModelError(f"{self.source}: cannot encode a text ({_one_line(error)}); {_AGAIN}") from error
        return states

    def to_diffusers(self) -> Any:
        """These components as a `StableDiffusionPipeline` without a safety checker.

        The models are shared. The scheduler is a copy, because drawing changes a scheduler.
        """
        with quiet():
            from diffusers import StableDiffusionPipeline  # transformers logs a remark if torchvision is missing

            return StableDiffusionPipeline(
                vae=self.vae,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                unet=self.unet,
                scheduler=copy.deepcopy(self.scheduler),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )

    def save(self, folder: Path) -> None:
        """Writes a folder for `StableDiffusionPipeline.from_pretrained`, safetensors only. Raises ModelError."""
        pipeline = self.to_diffusers()
        reset_tokenizer(self.tokenizer)
        try:
            with quiet():
                pipeline.save_pretrained(folder, safe_serialization=True)
        except (OSError, SafetensorError) as error:
            raise ModelError(write_failure(error, folder)) from error


def reset_tokenizer(tokenizer: Any) -> None:
    """Resets the padding and the truncation of a tokenizer's last call, which would be saved with it.

    What is written then does not depend on what was encoded before.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()


def load_pipeline(source: str | Path, *, revision: str | None = None, dtype: torch.dtype = torch.float32) -> Pipeline:
    """Loads "atelier", a diffusers folder, a bundle folder or a hub id, in eval mode on the CPU.

    `revision` is the commit, branch or tag of a hub id. A safety checker is not loaded; `safety_checker` tells whether
    there is one. Reads safetensors only and runs no code from the source. Raises ModelError, which names the file and
    the remedy, if a part is missing or damaged, or if the source is not a Stable Diffusion pipeline.
    """
    folder, commit = find_folder(source, revision)
    classes = _component_classes(folder)
    for name in classes:
        check_files(folder / name)
    for name in ("text_encoder", "unet", "vae"):
        check_sizes(folder / name / "config.json")
    check_sizes(folder / "scheduler" / "scheduler_config.json")
    check_tokenizer(folder / "tokenizer")
    check_weights(folder / "text_encoder", "model")
    for name in ("unet", "vae"):
        check_weights(folder / name, "diffusion_pytorch_model")
    config = read_json(folder / "unet" / "config.json")
    unet_class = PrunedUNet2DConditionModel if config.get("pruning_plan") else UNet2DConditionModel
    with quiet():
        pipeline = Pipeline(
            tokenizer=_load(CLIPTokenizer, folder / "tokenizer"),
            text_encoder=_load_weights(CLIPTextModel, folder / "text_encoder", dtype=dtype),
            vae=_load_weights(AutoencoderKL, folder / "vae", torch_dtype=dtype),
            unet=_load_weights(unet_class, folder / "unet", torch_dtype=dtype),
            scheduler=_load(getattr(diffusers, classes["scheduler"]), folder / "scheduler"),
            source=str(source),
            revision=commit,
            safety_checker=has_safety_checker(folder),
        )
    _check_tokens(pipeline, folder / "tokenizer")
    for model in (pipeline.text_encoder, pipeline.vae, pipeline.unet):
        model.eval()
    for model in (pipeline.vae, pipeline.unet):
        model.register_to_config(_name_or_path="")  # a path of this machine must not be saved with the model
    return pipeline


def find_folder(
    source: str | Path, revision: str | None = None, files: Sequence[str] = HUB_FILES
) -> tuple[Path, str | None]:
    """The folder of a model, and the commit if it is a snapshot of a hub repository.

    `revision` chooses among the commits of a hub repository, and `files` are what is downloaded of it. Raises
    ModelError, also for a revision of something that has none.
    """
    if is_hub_id(source):
        return download(str(source), revision, files)
    path = Path(source)
    if revision is not None:
        raise ModelError(f"{source}: only a model on the hub has a --revision; leave it out")
    if str(source) == "atelier":
        return atelier.folder(), None
    if path.is_file():
        raise ModelError(f"{path}: a single file; {KINDS}")
    if path.is_dir():
        return (path / "model" if (path / "bundle.json").is_file() else path), None
    raise ModelError(f"{path}: no such folder; {KINDS}")


def has_safety_checker(folder: Path) -> bool:
    """Whether a diffusers folder names a safety checker and has its folder. Raises ModelError."""
    entry = read_json(folder / "model_index.json").get("safety_checker")
    return isinstance(entry, list) and any(entry) and (folder / "safety_checker").is_dir()


def _component_classes(folder: Path) -> dict[str, str]:
    """Class names by component. Raises ModelError unless the folder is a Stable Diffusion pipeline of known classes."""
    if not (folder / "model_index.json").exists():
        raise ModelError(f"{folder}: no model_index.json, so not a diffusers pipeline; {KINDS}")
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != "StableDiffusionPipeline":
        kind = index.get("_class_name")
        raise ModelError(f"{folder}: a {kind}; only StableDiffusionPipeline (Stable Diffusion 1.x, 2.x) is supported")
    expected = {
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "text_encoder": ("CLIPTextModel",),
        "vae": ("AutoencoderKL",),
        "unet": ("UNet2DConditionModel", "PrunedUNet2DConditionModel"),
        "scheduler": tuple(name for name in dir(diffusers) if name.endswith("Scheduler")),
    }
    classes: dict[str, str] = {}
    for name, known in expected.items():
        entry = index.get(name)
        found = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        if found not in known:
            choice = "any scheduler class of diffusers" if name == "scheduler" else ", ".join(known)
            raise ModelError(f"{folder / 'model_index.json'}: {name} is {found}; supported: {choice}")
        if not (folder / name).is_dir():
            raise ModelError(f"{folder / name}: missing; give a whole diffusers folder, or download the model again")
        classes[name] = str(found)
    return classes


def _check_tokens(pipeline: Pipeline, folder: Path) -> None:
    """Raises ModelError unless two prompts get different tokens and states, and the text encoder knows every token."""
    rows, last = pipeline.text_encoder.config.vocab_size, max(pipeline.tokenizer.get_vocab().values(), default=0)
    if last >= rows:
        raise ModelError(f"{folder}: has tokens up to {last}, and the text encoder has {rows} rows; {_AGAIN}")
    try:
        whole = tell_apart(PipelineTokenizer(pipeline.tokenizer, pipeline.text_tokens))
    except PruneguardError as error:
        raise ModelError(f"{folder}: {error}") from error
    if not whole:
        raise ModelError(f"{folder}: gives all prompts the same tokens, so its vocabulary is not whole; {_AGAIN}")
    first, second = pipeline.encode_text(PROBES)
    if torch.equal(first, second):
        raise ModelError(f"{folder.with_name('text_encoder')}: gives all prompts the same states; {_AGAIN}")


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        with panics_as_errors():
            return kind.from_pretrained(folder, local_files_only=True, **options)
    except PruneguardError as error:
        raise ModelError(f"{folder}: {error}") from error
    except Exception as error:  # on a damaged file the libraries raise errors of many unrelated classes
        raise ModelError(f"{folder}: cannot be loaded ({_one_line(error)}); {_AGAIN}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _load_weights(kind: Any, folder: Path, **options: Any) -> Any:
    """Loads a model and requires every tensor: the libraries replace a missing one by random values and only log it."""
    read_json(folder / "config.json")
    model, info = _load(kind, folder, use_safetensors=True, output_loading_info=True, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(f"{folder}: {len(missing)} tensors are missing, such as {missing[0]}; download it again")
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the logs and progress bars of diffusers and transformers, such as remarks on absent safety checkers."""
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    bars = diffusers_logging.is_progress_bar_enabled(), transformers_logging.is_progress_bar_enabled()
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bar in zip((diffusers_logging, transformers_logging), levels, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
