"""The files around the graphs: configurations, tokenizer and scheduler, as optimum's ONNX pipelines lay them out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneguard.errors import ExportError
from pruneguard.runtime.engines import torch_engine

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

GRAPH = "model.onnx"
_ORT = "optimum.onnxruntime.modeling_diffusion"


def sampler_settings(pipeline: Pipeline) -> dict[str, Any]:
    """How engines of this pipeline are sampled by default: what a bundle's manifest keeps under `sampler`.

    Raises ConfigError for a scheduler that is not PNDM's kin.
    """
    return dataclasses.asdict(torch_engine.sampler_settings(pipeline))


def write_layout(pipeline: Pipeline, folder: Path) -> None:
    """Writes everything but the graphs, so that ORTStableDiffusionPipeline.from_pretrained(folder) opens it.

    Raises ExportError for a tokenizer without a `tokenizer.json`, which the runtime could not read.
    """
    _write_json(folder / "text_encoder" / "config.json", pipeline.text_encoder.config.to_dict())
    _write_json(folder / "unet" / "config.json", pipeline.unet.config)
    _write_json(folder / "vae_decoder" / "config.json", pipeline.vae.config)
    scheduler = plain_config(pipeline.scheduler.config) | {"_class_name": type(pipeline.scheduler).__name__}
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / "model_index.json", _model_index(pipeline))
    _write_tokenizer(pipeline.tokenizer, folder / "tokenizer")


def plain_config(config: Any) -> dict[str, Any]:
    """A configuration as JSON values, without the path that it was read from."""
    named = {key: value for key, value in dict(config).items() if key != "_name_or_path"}
    plain: dict[str, Any] = json.loads(json.dumps(named, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _model_index(pipeline: Pipeline) -> dict[str, Any]:
    import diffusers

    return {
        "_class_name": "ORTStableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", type(pipeline.scheduler).__name__],
        "text_encoder": [_ORT, "ORTTextEncoder"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": [_ORT, "ORTUnet"],
        "vae": [_ORT, "ORTVae"],
    }


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
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
