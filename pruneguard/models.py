"""Models: the pruned UNet's class, and a Stable Diffusion pipeline's components from wherever they lie."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from pruneguard.errors import ConfigError, ModelError
from pruneguard.pruning.plan import PruningPlan
from pruneguard.pruning.surgery import apply_plan
from pruneguard.runtime.sampling.settings import vae_scale
from pruneguard.runtime.sampling.tokens import text_length
from pruneguard.weights import check_weights, read_json

HUB_FILES = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "*/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model-*-of-*.safetensors",
    "text_encoder/model.safetensors.index.json",
    "*/diffusion_pytorch_model.safetensors",
    "*/diffusion_pytorch_model-*-of-*.safetensors",
    "*/diffusion_pytorch_model.safetensors.index.json",
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SOURCES = 'give "atelier", a diffusers folder, a bundle, or a hub id such as owner/model'


class PrunedUNet2DConditionModel(UNet2DConditionModel):  # type: ignore[misc]
    """The stock UNet with its pruning plan in the configuration, under `pruning_plan`.

    It is made as the stock architecture and then pruned, so every way of making a diffusers model (`from_config`,
    `from_pretrained` with and without `low_cpu_mem_usage`) gives the pruned shapes, and it saves, loads and runs in a
    pipeline like any other. A saved pipeline names `pruneguard.PrunedUNet2DConditionModel`; diffusers reads it once
    `pruneguard` has been imported.
    """

    def __init__(self, pruning_plan: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(**config)
        plan = PruningPlan.from_dict(pruning_plan or {})
        self.register_to_config(pruning_plan=plan.to_dict())
        apply_plan(self, plan, fold=False)  # these weights are still to be loaded

    @property
    def plan(self) -> PruningPlan:
        return PruningPlan.from_dict(self.config.pruning_plan)

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, plan: PruningPlan, *, fold: bool = True) -> Self:
        """A pruned copy of `unet`, which is left alone; `fold` as in `apply_plan`. Raises ConfigError.

        A UNet that has a plan already is refused: a plan speaks of the dense UNet.
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


# diffusers reads from the signature which entries of config.json belong to a class, and from the module where the
# class of a saved pipeline can be found.
PrunedUNet2DConditionModel.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
PrunedUNet2DConditionModel.__module__ = "pruneguard"


@dataclass
class Pipeline:
    """The components of a Stable Diffusion pipeline, for those who run the steps themselves."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: Any
    source: str

    @property
    def latent_channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def latent_size(self) -> int:
        return int(self.unet.config.sample_size)

    @property
    def vae_scale(self) -> int:
        """Pixels along one side of a latent."""
        return vae_scale(self.vae.config.block_out_channels)

    @property
    def prediction_type(self) -> str:
        return str(self.scheduler.config.prediction_type)

    @property
    def text_tokens(self) -> int:
        """Tokens that a prompt is padded or cut to."""
        return text_length(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return torch.device(self.unet.device)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Pipeline:
        """Moves the models, in place, to `dtype` too where one is given, and returns the pipeline."""
        for model in (self.text_encoder, self.vae, self.unet):
            if dtype is None:
                model.to(device=device)
                continue
            # diffusers warns of every cast that modules must stay in float32, also where it names none.
            with nullcontext() if getattr(model, "_keep_in_fp32_modules", None) else quiet():
                model.to(device=device, dtype=dtype)
        return self

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Final hidden states (B, text_tokens, D) of the prompts, padded and cut to `text_tokens`."""
        tokens = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.text_tokens, truncation=True, return_tensors="pt"
        )
        states: Tensor = self.text_encoder(tokens.input_ids.to(self.text_encoder.device))[0]
        return states

    def save(self, folder: Path) -> None:
        """Writes a folder for `StableDiffusionPipeline.from_pretrained`, safetensors only. Raises ModelError."""
        with quiet():
            from diffusers import StableDiffusionPipeline  # where torchvision is missing transformers remarks on it

            pipeline = StableDiffusionPipeline(
                vae=self.vae,
                text_encoder=self.text_encoder,
                tokenizer=self.tokenizer,
                unet=self.unet,
                scheduler=self.scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            try:
                pipeline.save_pretrained(folder, safe_serialization=True)
            except Exception as error:  # safetensors reports a full disk by an exception class of its own
                if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
                    raise
                raise ModelError(
                    f"{folder}: cannot be written ({error}); free space or choose another folder"
                ) from error


def load_pipeline(source: str | Path, *, dtype: torch.dtype = torch.float32) -> Pipeline:
    """The pipeline from "atelier", a diffusers folder, a bundle folder or a hub id, in eval mode on the CPU.

    Reads safetensors only and runs no code from the source. Raises ModelError, which names the file and the remedy,
    for whatever is missing, broken or not a Stable Diffusion pipeline.
    """
    folder = _folder(source)
    classes = _component_classes(folder)
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
        )
    for model in (pipeline.text_encoder, pipeline.vae, pipeline.unet):
        model.eval()
    for model in (pipeline.vae, pipeline.unet):
        model.register_to_config(_name_or_path="")  # where this machine keeps it is no part of what is saved
    return pipeline


def _folder(source: str | Path) -> Path:
    if str(source) == "atelier":
        from pruneguard import atelier

        return Path(atelier.folder())
    path = Path(source)
    if path.is_file():
        raise ModelError(f"{path}: a single file; {_SOURCES}")
    if path.is_dir():
        return path / "model" if (path / "bundle.json").is_file() else path
    if isinstance(source, str) and _HUB_ID.fullmatch(source):
        return _download(source)
    raise ModelError(f"{path}: no such folder; {_SOURCES}")


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(HUB_FILES)))
    except GatedRepoError as error:
        raise ModelError(f"{hub_id}: needs permission; ask for it on its page and run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"{hub_id}: no such folder here and no such model on the hub; {_SOURCES}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        remedy = "check the network, or download the model elsewhere and give its folder"
        raise ModelError(f"{hub_id}: no such folder here, and the hub cannot be reached; {remedy}") from error


def _component_classes(folder: Path) -> dict[str, str]:
    """Class names by component. Raises ModelError unless the folder is a Stable Diffusion pipeline that we can read."""
    if not (folder / "model_index.json").exists():
        raise ModelError(f"{folder}: no model_index.json, so not a diffusers pipeline; {_SOURCES}")
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


def _load(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{folder}: cannot be loaded ({first}); download the model again") from error


def _load_weights(kind: Any, folder: Path, **options: Any) -> Any:
    """A model all of whose tensors were in the file: the libraries draw missing ones at random and only log it."""
    read_json(folder / "config.json")
    model, info = _load(kind, folder, use_safetensors=True, output_loading_info=True, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(f"{folder}: {len(missing)} tensors are missing, such as {missing[0]}; download it again")
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the libraries' notes and bars, which concern absent safety checkers and the like, out of our output."""
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
