"""A whole tiny bundle: ONNX graphs written with the onnx helper, a CLIP tokenizer of 16 tokens, a passed audit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pruneguard.bundle import Audit, BundleDraft, EngineRecord, Policy, Space, Stage
from pruneguard.measurement import Measurement, Protocol
from pruneguard.runtime import SamplerSettings
from pruneguard.settings import plain

WIDTH, TOKENS, CHANNELS, SIZE, SCALE = 8, 16, 4, 8, 2
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def _model(nodes: list[Any], inputs: list[Any], output: Any, weights: dict[str, Any]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "component", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _info(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def text_encoder_graph(vocabulary: int) -> onnx.ModelProto:
    table = np.random.default_rng(0).standard_normal((vocabulary, WIDTH)).astype(np.float32)
    return _model(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        [_info("input_ids", ["b", "l"], TensorProto.INT64)],
        _info("last_hidden_state", ["b", "l", WIDTH]),
        {"table": table},
    )


def unet_graph() -> onnx.ModelProto:
    """v = tanh(convolution(x) + mean(text) + t / 1000), with one t for each row."""
    kernel = 0.2 * np.random.default_rng(1).standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    node = helper.make_node
    return _model(
        [
            node("Conv", ["sample", "kernel"], ["mixed"], pads=[1, 1, 1, 1]),
            node("ReduceMean", ["encoder_hidden_states"], ["mean"], axes=[1, 2], keepdims=1),
            node("Unsqueeze", ["mean", "last"], ["text"]),
            node("Mul", ["timestep", "thousandth"], ["time"]),
            node("Unsqueeze", ["time", "all"], ["when"]),
            node("Add", ["mixed", "text"], ["shifted"]),
            node("Add", ["shifted", "when"], ["total"]),
            node("Tanh", ["total"], ["out_sample"]),
        ],
        [
            _info("sample", ["b", CHANNELS, "h", "w"]),
            _info("timestep", ["b"]),
            _info("encoder_hidden_states", ["b", "l", WIDTH]),
        ],
        _info("out_sample", ["b", CHANNELS, "h", "w"]),
        {"kernel": kernel, "last": np.array([3]), "all": np.array([1, 2, 3]), "thousandth": np.float32(0.001)},
    )


def vae_decoder_graph() -> onnx.ModelProto:
    kernel = 0.3 * np.random.default_rng(2).standard_normal((CHANNELS, 3, SCALE, SCALE)).astype(np.float32)
    return _model(
        [helper.make_node("ConvTranspose", ["latent_sample", "kernel"], ["sample"], strides=[SCALE, SCALE])],
        [_info("latent_sample", ["b", CHANNELS, "h", "w"])],
        _info("sample", ["b", 3, "H", "W"]),
        {"kernel": kernel},
    )


def write_tokenizer(folder: Path, pad: str = "<|endoftext|>") -> int:
    """CLIP's files for an alphabet of letters; returns the vocabulary's size."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": TOKENS, "pad_token": pad}))
    return len(tokens)


def tiny_settings(**changes: Any) -> SamplerSettings:
    settings: dict[str, Any] = {
        "scheduler": SCHEDULER,
        "latent_channels": CHANNELS,
        "latent_size": SIZE,
        "vae_scale": SCALE,
        "scaling_factor": 0.5,
        "text_tokens": TOKENS,
        "prediction_type": "v_prediction",
        "steps": 4,
    }
    return SamplerSettings(**{**settings, **changes})


ENGINE = "onnx-fp32"
PLACE = f"engines/{ENGINE}"


def fill_draft(draft: BundleDraft, unet: onnx.ModelProto | None = None) -> None:
    folder = draft.folder / PLACE
    size = write_tokenizer(folder / "tokenizer")
    graphs = {
        "text_encoder": text_encoder_graph(size),
        "unet": unet or unet_graph(),
        "vae_decoder": vae_decoder_graph(),
    }
    for name, graph in graphs.items():
        (folder / name).mkdir()
        onnx.save(graph, str(folder / name / "model.onnx"))
    draft.update(sampler=asdict(tiny_settings()), concepts={"hatching": {"terms": ["hatching"]}})
    draft.update(policy=Policy(["hatching"]))
    draft.add_engine(ENGINE, engine_record())
    draft.add_stage(Stage(f"export {ENGINE}", inputs={"model": "tiny"}, outputs=[PLACE]))


def engine_record(**changes: Any) -> EngineRecord:
    record = EngineRecord(
        target="onnx",
        backend="onnxruntime",
        components={name: f"{PLACE}/{name}" for name in ("text_encoder", "unet", "vae_decoder")},
        tokenizer=f"{PLACE}/tokenizer",
        files=[PLACE],
    )
    return msgspec.structs.replace(record, **changes)


def _drawn(rate: float, space: Space | None) -> Measurement:
    protocol = Protocol(settings={"space": plain(space)} if space else {})
    high = min(1.0, rate + 0.01)
    return Measurement(name="drawn", value=rate, unit="share", high=high, count=100, protocol=protocol)


def add_audit(
    draft: BundleDraft,
    concept: str = "hatching",
    rate: float = 0.01,
    subject: str = ENGINE,
    space: Space | None = None,
) -> None:
    """An audit; without a `space` it is such as an earlier version recorded it."""
    draft.add_audit(
        Audit(
            concept=concept,
            subject=subject,
            limit=0.05,
            passed=rate <= 0.04,
            measurements=[_drawn(rate, space)],
            control=[_drawn(1.0, space)],
            space=space,
            digests=draft.digests(subject),
            settings=draft.settings_digest(subject),
        )
    )
