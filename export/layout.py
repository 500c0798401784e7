"""The files beside the graphs: configurations, tokenizer and scheduler, in the layout of optimum's ONNX pipelines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.errors import ExportError
from pruneguard.models import reset_tokenizer
from pruneguard.runtime.engines import torch_engine
from pruneguard.runtime.sampling.settings import SamplerSettings
from pruneguard.runtime.sampling.solver import SOLVERS

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

GRAPH = "model.onnx"
_ORT = "optimum.onnxruntime.modeling_diffusion"


def sampler_settings(pipeline: Pipeline, scheduler: str | None = None) -> dict[str, Any]:
    """How engines of this pipeline are sampled by default, as a bundle's manifest keeps it under `sampler`.

    `scheduler` names a solver that takes the place of the pipeline's own scheduler at the same noise levels. Raises
    ConfigError for a scheduler whose class no solver computes.
    """
    return dataclasses.asdict(torch_engine.sampler_settings(pipeline, scheduler))


def write_layout(pipeline: Pipeline, folder: Path, sampler: SamplerSettings | None = None) -> None:
    """Writes everything but the graphs, so that ORTStableDiffusionPipeline.from_pretrained(folder) opens it.

    `sampler` has the scheduler to write, by default the pipeline's own. Raises ExportError for a tokenizer without a
    `tokenizer.json`, which the runtime could not read, and ConfigError as `sampler_settings`.
    """
    sampler = sampler or torch_engine.sampler_settings(pipeline)
    scheduler_class = SOLVERS.find(sampler.solver).settings.scheduler_class
    _write_json(folder / "text_encoder" / "config.json", pipeline.text_encoder.config.to_dict())
    _write_json(folder / "unet" / "config.json", pipeline.unet.config)
    _write_json(folder / "vae_decoder" / "config.json", pipeline.vae.config)
    scheduler = {**sampler.scheduler, "_class_name": scheduler_class}
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / "model_index.json", _model_index(scheduler_class))
    _write_tokenizer(pipeline.tokenizer, folder / "tokenizer")


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as JSON values, without the path from which it was read."""
    named = {key: value for key, value in dict(config).items() if key != "_name_or_path"}
    plain: dict[str, Any] = json.loads(json.dumps(named, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _model_index(scheduler_class: str) -> dict[str, Any]:
    import diffusers

    return {
        "_class_name": "ORTStableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler_class],
        "text_encoder": [_ORT, "ORTTextEncoder"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": [_ORT, "ORTUnet"],
        "vae": [_ORT, "ORTVae"],
    }


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    reset_tokenizer(tokenizer)
    tokenizer.save_pretrained(folder)
    source = folder / "tokenizer.json"
    if not source.is_file():
        raise ExportError("the tokenizer has no tokenizer.json; load the pipeline with a fast CLIPTokenizer")
    # transformers 5 keeps the vocabulary in tokenizer.json alone; the 4.x that optimum needs reads these two.
    model = json.loads(source.read_text(encoding="utf-8"))["model"]
    _write_json(folder / "vocab.json", model["vocab"])
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{pair}\n" for pair in pairs), encoding="utf-8")
    names = {f"{kind}_token": str(getattr(tokenizer, f"{kind}_token")) for kind in ("bos", "eos", "unk", "pad")}
    _write_json(folder / "special_tokens_map.json", names)


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain_config(value), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
