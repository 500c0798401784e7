"""ONNX engines and their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pruneguard.bundle import Bundle, copy_folder
from pruneguard.errors import BundleError, ConfigError
from pruneguard.runtime import Components, EngineError, OnnxEngine, draw, onnx_components, open_engine
from pruneguard.runtime.engines.external_data import external_locations
from tests.runtime.tiny_bundle import SCHEDULER, tiny_settings, unet_graph, vae_decoder_graph


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    path = tmp_path / "unet" / "model.onnx"
    path.parent.mkdir()
    onnx.save(unet_graph(), str(path))
    return path


@pytest.fixture
def split_unet(tmp_path: Path) -> Path:
    """The same model with its kernel in model.onnx.data."""
    path = tmp_path / "split" / "model.onnx"
    path.parent.mkdir()
    onnx.save(
        unet_graph(),
        str(path),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=100,
        all_tensors_to_one_file=True,
    )
    return path


def inputs(rows: int = 2) -> dict[str, Any]:
    return {
        "sample": np.ones((rows, 4, 8, 8), dtype=np.float32),
        "timestep": np.full(rows, 500),
        "encoder_hidden_states": np.zeros((rows, 16, 8)),
    }


def in_bundle(path: Path) -> Components:
    """The components of a bundle's only engine as its files are now, without a look at their digests."""
    with copy_folder(path) as files:
        return open_engine(files, Bundle.open(path).manifest, "onnx-fp32")


def locations(path: Path) -> set[str]:
    with copy_folder(path.parent) as files:
        return external_locations(files, path.name)


def move_data(path: Path, location: str) -> None:
    """Makes the model name another location for its external data."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_runs_casts_and_describes(unet: Path) -> None:
    engine = OnnxEngine.from_folder(unet.parent, threads=1)
    output = engine.run(inputs())["out_sample"]
    assert output.shape == (2, 4, 8, 8) and output.dtype == np.float32
    assert engine.describe()["inputs"]["timestep"] == "float32"
    assert engine.describe()["threads"] == 1


def test_outputs_of_two_runs_do_not_share_memory(unet: Path) -> None:
    engine = OnnxEngine.from_folder(unet.parent)
    first = engine.run(inputs())["out_sample"]
    kept = first.copy()
    engine.run({**inputs(), "timestep": np.ones(2)})
    assert np.array_equal(first, kept)


def test_wrong_inputs_are_engine_errors(unet: Path) -> None:
    engine = OnnxEngine.from_folder(unet.parent)
    with pytest.raises(EngineError, match="takes encoder_hidden_states, sample, timestep, not sample"):
        engine.run({"sample": np.zeros((1, 4, 8, 8))})
    with pytest.raises(EngineError, match="failed: "):
        engine.run({**inputs(), "sample": np.zeros((1, 3, 8, 8))})


def test_every_cut_of_a_model_is_one_clear_error(unet: Path) -> None:
    whole = unet.read_bytes()
    for length in [0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1]:
        unet.write_bytes(whole[:length])
        with pytest.raises(BundleError, match=r"model\.onnx (is not a whole ONNX model|cannot be loaded)") as caught:
            OnnxEngine.from_folder(unet.parent)
        assert "\n" not in str(caught.value)


def test_noise_instead_of_a_model_is_refused(unet: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        unet.write_bytes(random.bytes(300))
        with pytest.raises(BundleError):
            OnnxEngine.from_folder(unet.parent)


def test_unknown_providers_and_threads_are_named(unet: Path) -> None:
    with pytest.raises(ConfigError, match="NoSuchProvider not in this ONNX Runtime"):
        OnnxEngine.from_folder(unet.parent, providers=["NoSuchProvider"])
    with pytest.raises(ConfigError, match="threads must be"):
        onnx_components(unet.parent, threads=0)


def test_a_provider_that_cannot_run_here_is_named(tiny_bundle: Path) -> None:
    folder, settings = tiny_bundle / "engines/onnx-fp32", tiny_settings()
    with pytest.raises(ConfigError, match=r"provider must be cpu or cuda, not 'tpu'"):
        onnx_components(folder, sampler=settings, provider="tpu")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ConfigError, match=r"has no CUDAExecutionProvider; install pruneguard\[gpu\]"):
            onnx_components(folder, sampler=settings, provider="cuda")


@pytest.mark.parametrize("how", ["scalar", "whole number"])
def test_a_unet_with_one_timestep_a_call_is_refused_with_the_command_that_makes_it_again(
    tiny_bundle: Path, how: str
) -> None:
    path = tiny_bundle / "engines/onnx-fp32/unet/model.onnx"
    model = onnx.load(str(path))
    timestep = model.graph.input[1].type.tensor_type
    if how == "scalar":
        timestep.shape.ClearField("dim")
        axes = next(tensor for tensor in model.graph.initializer if tensor.name == "all")
        axes.CopyFrom(numpy_helper.from_array(np.array([0, 1, 2]), "all"))
    else:
        timestep.elem_type = onnx.TensorProto.INT64
        cast = helper.make_node("Cast", ["timestep"], ["t"], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
        next(node for node in model.graph.node if node.op_type == "Mul").input[0] = "t"
    path.write_bytes(model.SerializeToString())
    command = f"`pruneguard export --onnx --bundle {tiny_bundle}`"
    with pytest.raises(BundleError, match=f"one timestep a call, .* again with {command}"):
        in_bundle(tiny_bundle)


def test_loading_leaves_the_logger_of_the_embedding_program_alone(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[int] = []
    for name in ("set_default_logger_severity", "set_default_logger_verbosity"):
        monkeypatch.setattr(onnxruntime, name, touched.append)
    draw(in_bundle(tiny_bundle), ["red"], [1], steps=1)
    assert touched == []


def test_external_data_is_found_and_loaded(split_unet: Path, unet: Path) -> None:
    assert locations(unet) == set()
    assert locations(split_unet) == {"model.onnx.data"}
    engines = (OnnxEngine.from_folder(path.parent) for path in (unet, split_unet))
    inline, outside = (engine.run(inputs())["out_sample"] for engine in engines)
    assert np.array_equal(inline, outside)


@pytest.mark.parametrize("location", ["../split/model.onnx.data", "/etc/passwd", "a/../../x", "..\\x"])
def test_external_data_outside_the_folder_is_refused(split_unet: Path, location: str) -> None:
    move_data(split_unet, location)
    with pytest.raises(BundleError, match="outside its folder"):
        OnnxEngine.from_folder(split_unet.parent)


@pytest.mark.parametrize("how", ["symlink", "hard link", "linked folder", "missing"])
def test_external_data_behind_a_link_is_refused(split_unet: Path, tmp_path: Path, how: str) -> None:
    data = split_unet.with_name("model.onnx.data")
    if how == "hard link":
        os.link(data, tmp_path / "second-name")
    elif how == "linked folder":
        (tmp_path / "secret").mkdir()
        data.rename(tmp_path / "secret/data")
        (split_unet.parent / "inner").symlink_to(tmp_path / "secret")
        move_data(split_unet, "inner/data")
    else:
        data.rename(tmp_path / "data")
        if how == "symlink":
            data.symlink_to(tmp_path / "data")
    with pytest.raises(BundleError, match=r"missing, a link or not in the manifest|links or special files"):
        OnnxEngine.from_folder(split_unet.parent)


def test_external_data_is_found_in_subgraphs_and_sparse_constants(tmp_path: Path) -> None:
    def outside(name: str) -> Any:
        tensor = helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [0.0])
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", name
        return tensor

    index = helper.make_tensor("index", onnx.TensorProto.INT64, [1], [0])
    sparse = onnx.SparseTensorProto(values=outside("sparse"), indices=index, dims=[4])
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=outside("inner"))], "inner", [], [])
    nodes = [
        helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse),
    ]
    function = onnx.FunctionProto(node=[helper.make_node("Constant", [], ["f"], value=outside("function"))])
    graph = helper.make_graph(nodes, "g", [], [], [outside("initializer")])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    for name in ("sparse", "inner", "function", "initializer"):
        (tmp_path / name).write_bytes(bytes(4))
    assert locations(path) == {"sparse", "inner", "function", "initializer"}


def test_a_bare_folder_needs_settings_or_configurations(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tiny_bundle / "engines/onnx-fp32"
    with pytest.raises(BundleError, match=r"scheduler_config\.json cannot be read \(No such file"):
        onnx_components(folder)
    configurations = {
        "scheduler/scheduler_config.json": SCHEDULER,
        "unet/config.json": {"in_channels": 4, "sample_size": 8},
        "vae_decoder/config.json": {"block_out_channels": [8, 8], "scaling_factor": 0.5},
        "text_encoder/config.json": {"max_position_embeddings": 24},
    }
    given = onnx_components(folder, sampler=tiny_settings())
    for name, content in configurations.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    read = onnx_components(folder)
    assert read.sampler == tiny_settings(steps=25)
    images = [draw(components, ["red"], [1], steps=3) for components in (given, read, in_bundle(tiny_bundle))]
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])


def test_a_component_in_the_wrong_place_is_refused(tiny_bundle: Path) -> None:
    onnx.save(vae_decoder_graph(), str(tiny_bundle / "engines/onnx-fp32/unet/model.onnx"))
    with pytest.raises(BundleError, match="inputs and outputs of a unet"):
        in_bundle(tiny_bundle)
    (tiny_bundle / "engines/onnx-fp32/unet/model.onnx").unlink()
    with pytest.raises(BundleError, match="make it with `pruneguard export --onnx`"):
        in_bundle(tiny_bundle)


def test_a_graph_with_a_further_output_is_refused(tiny_bundle: Path) -> None:
    """ONNX Runtime computes all outputs of a graph in every call, so a further one could cost any time and memory."""
    path = tiny_bundle / "engines/onnx-fp32/vae_decoder/model.onnx"
    model = vae_decoder_graph()
    model.graph.node.append(helper.make_node("Neg", ["sample"], ["negated"]))
    model.graph.output.append(helper.make_tensor_value_info("negated", onnx.TensorProto.FLOAT, ["b", 3, "H", "W"]))
    onnx.save(model, str(path))
    command = f"`pruneguard export --onnx --bundle {tiny_bundle}`"
    with pytest.raises(BundleError, match=f"has the output 'negated' beside 'sample', .* again with {command}"):
        in_bundle(tiny_bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_size": 0}, "latent_size"),
        ({"latent_size": 10**9}, "latent_size must be a whole number from 1 to 4096"),
        ({"text_tokens": 2}, "text_tokens must be a whole number from 3"),
        ({"scaling_factor": 0.0}, "scaling_factor"),
        ({"scaling_factor": 10**400}, "scaling_factor"),
        ({"guidance_scale": 10**400}, "guidance_scale"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"prediction_type": "epsilon"}, "prediction_type 'epsilon' is not the scheduler's"),
        ({"scheduler": None}, "scheduler must be"),
        ({"steps": 101}, "sampler steps must be a whole number from 1 to 100, not 101"),
        ({"guidance_scale": 30.5}, "sampler guidance_scale must be a number from 0 to 30"),
        ({"solver": "pndn"}, "unknown solver 'pndn': did you mean 'pndm'"),
        ({"scheduler": {}, "prediction_type": "epsilon", "steps": 3}, "sampler steps must be at least 4"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_settings(**changes)


def test_unknown_and_missing_settings_are_named(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="sampler: unknown setting 'stepz': did you mean 'steps'"):
        onnx_components(tiny_bundle, sampler={"stepz": 3})
    with pytest.raises(ConfigError, match="sampler: it lacks the required field `scheduler`"):
        onnx_components(tiny_bundle, sampler={"steps": 3})
