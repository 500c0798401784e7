"""One component as one ONNX file: opsets, interface, what must not be in it, and clear errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pruneguard.errors import ExportError
from pruneguard.export import graph
from pruneguard.export.components import Component, Port, components_of
from pruneguard.runtime import EngineError, OnnxEngine


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4, 4), 2.0))

    def forward(self, latent_sample: Tensor) -> Tensor:
        return latent_sample * self.weight.mean()


class Breaking(nn.Module):
    def forward(self, latent_sample: Tensor) -> Tensor:
        raise ValueError("this layer cannot be traced\nand here is a page of advice")


def component(module: nn.Module) -> Component:
    port = ("batch_size", 4, "height", "width")
    inputs, outputs = (Port("latent_sample", port),), (Port("sample", port),)
    return Component("vae_decoder", inputs, outputs, module, lambda: (torch.zeros(2, 4, 16, 24),))


@pytest.mark.parametrize("opset", [9, 17, 18, 19, 24])
def test_opsets_outside_20_to_23_are_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=rf"opset {opset} is not supported; choose one of 20, 21, 22, 23"):
        graph.write_graph(component(Doubling()), tmp_path / "model.onnx", opset=opset)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("opset", graph.OPSETS)
def test_each_opset_writes_a_quiet_checked_graph(opset: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vae_decoder" / "model.onnx"
    nodes = graph.write_graph(component(Doubling()), path, opset=opset)
    model = onnx.load(path)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == opset
    assert nodes == len(model.graph.node)
    assert capfd.readouterr() == ("", "")
    sample = np.ones((3, 4, 5, 7), dtype=np.float32)
    np.testing.assert_array_equal(
        OnnxEngine.from_folder(path.parent, threads=1).run({"latent_sample": sample})["sample"], 2 * sample
    )


def test_the_same_weights_give_the_same_bytes_and_no_trace_of_this_machine(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        graph.write_graph(component(Doubling()), tmp_path / name)
    data = (tmp_path / "a.onnx").read_bytes()
    assert data == (tmp_path / "b.onnx").read_bytes()
    assert b"stack_trace" not in data
    assert str(Path(__file__).parent).encode() not in data


def test_weights_beyond_the_limit_go_to_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "SINGLE_FILE_BYTES", 16)
    graph.write_graph(component(Doubling()), tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    sample = np.ones((1, 4, 2, 2), dtype=np.float32)
    output = OnnxEngine.from_folder(tmp_path, threads=1).run({"latent_sample": sample})["sample"]
    np.testing.assert_array_equal(output, 2 * sample)


def test_an_exporter_failure_is_one_line_naming_component_opset_and_cause(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        graph.write_graph(component(Breaking()), tmp_path / "model.onnx", opset=21)
    message = str(caught.value)
    assert message.startswith("vae_decoder cannot be exported at opset 21: ValueError: this layer cannot be traced")
    assert "\n" not in message


def test_opset_23_uses_native_attention_and_agrees(exported: Any, tmp_path: Path) -> None:
    unet = components_of(exported.pipeline)[1]
    path = tmp_path / "model.onnx"
    graph.write_graph(unet, path, opset=23)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert {"Attention", "GroupNormalization"} <= operators
    generator = torch.Generator().manual_seed(1)
    sample, states = (torch.randn(shape, generator=generator) for shape in ((3, 4, 16, 8), (3, 32, 16)))
    with torch.no_grad():
        expected = exported.pipeline.unet(sample, torch.tensor(501), states).sample
    inputs = {"sample": sample.numpy(), "timestep": np.full(3, 501), "encoder_hidden_states": states.numpy()}
    found = OnnxEngine.from_folder(path.parent, threads=1).run(inputs)["out_sample"]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_interface_is_optimums(exported: Any) -> None:
    def ports(values: Any) -> dict[str, list[str | int]]:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    models = {name: onnx.load(exported.folder / name / "model.onnx").graph for name in exported.record.nodes}
    assert ports(models["text_encoder"].input) == {"input_ids": ["batch_size", 32]}
    assert ports(models["text_encoder"].output) == {"last_hidden_state": ["batch_size", 32, 16]}
    assert ports(models["unet"].input) == {
        "sample": ["batch_size", 4, "height", "width"],
        "timestep": ["batch_size"],
        "encoder_hidden_states": ["batch_size", 32, 16],
    }
    assert ports(models["unet"].output) == {"out_sample": ["batch_size", 4, "height", "width"]}
    assert ports(models["vae_decoder"].input) == {"latent_sample": ["batch_size", 4, "latent_height", "latent_width"]}
    assert ports(models["vae_decoder"].output) == {"sample": ["batch_size", 3, "2*latent_height", "2*latent_width"]}


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (32, 8)])
@pytest.mark.parametrize("batch", [1, 5, 70])
def test_unet_takes_any_batch_and_multiples_of_8(exported: Any, batch: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(batch)
    sample, states = torch.randn(batch, 4, *size, generator=generator), torch.randn(batch, 32, 16, generator=generator)
    with torch.no_grad():
        expected = exported.pipeline.unet(sample, torch.tensor(41), states).sample
    engine = OnnxEngine.from_folder(exported.folder / "unet", threads=1)
    inputs = {"sample": sample.numpy(), "timestep": np.full(batch, 41), "encoder_hidden_states": states.numpy()}
    np.testing.assert_allclose(engine.run(inputs)["out_sample"], expected.numpy(), atol=1e-5)


def test_one_timestep_serves_all_rows_as_optimums_pipelines_give_it(exported: Any) -> None:
    engine = OnnxEngine.from_folder(exported.folder / "unet", threads=1)
    random = np.random.default_rng(0)
    inputs = {
        "sample": random.standard_normal((3, 4, 8, 8), dtype=np.float32),
        "encoder_hidden_states": random.standard_normal((3, 32, 16), dtype=np.float32),
    }
    one, each = (engine.run({**inputs, "timestep": np.full(count, 501)})["out_sample"] for count in (1, 3))
    np.testing.assert_array_equal(one, each)


def test_rows_of_one_batch_may_stand_at_different_and_fractional_timesteps(exported: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    sample, states = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 32, 16, generator=generator)
    timesteps = torch.tensor([981.0, 20.5, 1.0])
    with torch.no_grad():
        rows = [exported.pipeline.unet(sample[n : n + 1], timesteps[n], states[n : n + 1]).sample for n in range(3)]
    inputs = {"sample": sample.numpy(), "timestep": timesteps.numpy(), "encoder_hidden_states": states.numpy()}
    found = OnnxEngine.from_folder(exported.folder / "unet", threads=1).run(inputs)["out_sample"]
    np.testing.assert_allclose(found, torch.cat(rows).numpy(), atol=1e-5)
    assert (
        np.abs(
            found[1]
            - OnnxEngine.from_folder(exported.folder / "unet").run(
                {**inputs, "timestep": np.asarray([981.0, 20.0, 1.0])}
            )["out_sample"][1]
        ).max()
        > 1e-6
    )


def test_odd_latents_and_other_token_counts_fail_clearly(exported: Any) -> None:
    engine = OnnxEngine.from_folder(exported.folder / "unet", threads=1)
    states, timestep = np.zeros((1, 32, 16), np.float32), np.ones(1)
    for sample, text in (((1, 4, 9, 9), states), ((1, 4, 8, 8), states[:, :20])):
        inputs: dict[str, Any] = {
            "sample": np.zeros(sample, np.float32),
            "timestep": timestep,
            "encoder_hidden_states": text,
        }
        with pytest.raises(EngineError, match=r"unet/model\.onnx failed"):
            engine.run(inputs)


def test_weights_that_are_not_float32_or_not_finite_are_refused(make_pipeline: Any) -> None:
    pipeline = make_pipeline()
    pipeline.vae.to(torch.float16)
    with pytest.raises(ExportError, match=r"vae: .* is torch\.float16 on cpu; export needs float32 on the CPU"):
        components_of(pipeline)
    pipeline = make_pipeline()
    with torch.no_grad():
        pipeline.unet.conv_in.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ExportError, match=r"unet: conv_in\.weight holds values that are not finite"):
        components_of(pipeline)


def test_a_unet_of_five_levels_is_refused(make_pipeline: Any) -> None:
    pipeline = make_pipeline()
    pipeline.unet.register_to_config(block_out_channels=(16,) * 5)
    with pytest.raises(ExportError, match="5 levels need latents in multiples of 16"):
        components_of(pipeline)


def test_components_are_data() -> None:
    port = Port("sample", ("batch_size", 4, "height", "width"))
    assert port.dynamic == {0: "batch_size", 2: "height", 3: "width"}
    assert Port("input_ids", (2, 32), "int64").dynamic == {}
    assert dataclasses.is_dataclass(port)
