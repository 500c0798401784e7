"""What is asked of an engine, and what of its output is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from pruneguard.models import Pipeline
from pruneguard.runtime import Components, EngineError, OnnxEngine, check_prompts_differ, draw, torch_components
from tests.runtime.tiny_bundle import unet_graph


def inputs() -> dict[str, Any]:
    return {
        "sample": np.ones((1, 4, 8, 8), np.float32),
        "timestep": np.full(1, 500, np.float32),
        "encoder_hidden_states": np.zeros((1, 16, 8), np.float32),
    }


def test_only_the_named_output_is_asked_for(parts: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for name in ("text_encoder", "unet", "vae_decoder"):
        engine = getattr(parts, name)

        def run(given: dict[str, Any], outputs: Any = None, plain: Any = engine.run) -> Any:
            asked.append(outputs)
            return plain(given, outputs)

        monkeypatch.setattr(engine, "run", run)
    draw(parts, ["red"], [1], steps=1)
    assert set(asked) == {("last_hidden_state",), ("out_sample",), ("sample",)}


def test_an_onnx_engine_gives_only_the_named_output(tmp_path: Path) -> None:
    model = unet_graph()
    model.graph.node.append(helper.make_node("Neg", ["out_sample"], ["negated"]))
    model.graph.output.append(helper.make_tensor_value_info("negated", onnx.TensorProto.FLOAT, ["b", 4, "h", "w"]))
    onnx.save(model, str(tmp_path / "model.onnx"))
    engine = OnnxEngine.from_folder(tmp_path, threads=1)
    assert set(engine.run(inputs())) == {"out_sample", "negated"}
    assert set(engine.run(inputs(), ("out_sample",))) == {"out_sample"}
    with pytest.raises(EngineError, match="has no output 'pooler_output'; export it again"):
        engine.run(inputs(), ("pooler_output",))


def test_a_torch_engine_gives_only_the_named_output(tiny_pipeline: Pipeline) -> None:
    engine = torch_components(tiny_pipeline).text_encoder
    ids = np.ones((1, 16), np.int64)
    assert set(engine.run({"input_ids": ids})) == {"last_hidden_state"}
    assert set(engine.run({"input_ids": ids}, ("last_hidden_state",))) == {"last_hidden_state"}
    with pytest.raises(EngineError, match="CLIPTextModel has no output 'sample'"):
        engine.run({"input_ids": ids}, ("sample",))


@pytest.mark.parametrize("output", [None, [], np.array(["red"]), [np.zeros(3), np.zeros(4)], np.zeros(3, complex)])
def test_an_output_that_is_no_array_of_numbers_is_refused(
    parts: Components, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.vae_decoder, "run", lambda given, outputs: {"sample": output})
    with pytest.raises(EngineError, match="the VAE decoder gave no numbers as 'sample'; export it again"):
        draw(parts, ["red"], [1], steps=1)


def test_two_prompts_must_have_different_text_states(parts: Components) -> None:
    check_prompts_differ(parts)
    parts.text_encoder.function = lambda input_ids: np.ones((*input_ids.shape, 8))  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="all prompts give the same text states"):
        check_prompts_differ(parts)
