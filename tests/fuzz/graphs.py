"""Engines: ONNX graphs that a correct export never writes, in a bundle whose manifest lists them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pruneguard.bundle import MANIFEST
from pruneguard.runtime import GuardedSampler
from tests.fuzz.documents import harmed
from tests.runtime.tiny_bundle import PLACE

COMPONENTS = ("text_encoder", "unet", "vae_decoder")
ITERATIONS = 2000
"""Of the longest loop here: a loop without an end is a case of the engine's deadline, not of this harness."""
_FINAL = {"text_encoder": "last_hidden_state", "unet": "out_sample", "vae_decoder": "sample"}

Craft = Callable[[onnx.ModelProto, str], None]
"""Changes a model in place; the text is the name of its output."""


@dataclass(frozen=True, repr=False)
class CraftedEngine:
    """A bundle of which one component was crafted; `data` is a file beside its graph."""

    base: Path
    component: str
    craft: str
    graph: bytes
    data: bytes | None

    def __repr__(self) -> str:
        beside = "nothing" if self.data is None else f"{len(self.data)} bytes"
        return f"{self.component}, {self.craft}: a graph of {len(self.graph)} bytes, {beside} beside it"

    def draw(self, place: Path) -> None:
        """Makes the bundle at `place`, loads it and draws one image. Raises whatever the runtime raises."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.base, place)
        folder = f"{PLACE}/{self.component}"
        files = {f"{folder}/model.onnx": self.graph}
        if self.data is not None:
            files[f"{folder}/model.onnx.data"] = self.data
        manifest = json.loads((place / MANIFEST).read_text())
        for name, content in files.items():
            (place / name).write_bytes(content)
            manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (place / MANIFEST).write_text(json.dumps({**manifest, "audits": [], "policy": {}}))
        try:
            GuardedSampler.from_bundle(place, threads=1, allow_unaudited=True)("a red cat", seed=1)
        finally:
            shutil.rmtree(place, ignore_errors=True)


@st.composite
def engines(draw: st.DrawFn, base: Path) -> CraftedEngine:
    """A bundle whose text encoder, UNet or VAE decoder was crafted; one in eight has a harmed file besides."""
    component = draw(st.sampled_from(COMPONENTS))
    craft = draw(st.sampled_from([*CRAFTS, *FILES]))
    graph = FILES.get(craft, b"")
    if craft in CRAFTS:
        model = onnx.load(str(base / PLACE / component / "model.onnx"))
        CRAFTS[craft](model, _FINAL[component])
        graph = model.SerializeToString()
    if draw(st.integers(0, 7)) == 0:
        graph = draw(harmed(graph))
    data = draw(st.sampled_from([None, b"", b"\0" * 16, b"\xff" * 4096])) if "external" in craft else None
    return CraftedEngine(base, component, craft, graph, data)


def behind(*nodes: tuple[str, dict[str, Any]], kind: int = TensorProto.FLOAT, **constants: Any) -> Craft:
    """Puts nodes behind the output, each with the one before it as its first input, and constants as the others."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        last = _detach(model, output)
        for name, value in constants.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        for number, (operator, options) in enumerate(nodes):
            options = dict(options)
            inputs = [entry.replace("$", last) for entry in options.pop("inputs", ["$"])]
            last = output if number == len(nodes) - 1 else f"crafted{number}"
            model.graph.node.append(helper.make_node(operator, inputs, [last], **options))
        _declare(model, output, kind)

    return craft


def instead(dims: list[int], value: float = 0.5) -> Craft:
    """A constant of that shape in place of the output."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        _detach(model, output)
        fill = helper.make_tensor("fill", TensorProto.FLOAT, [1], [value])
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(dims, dtype=np.int64), "dims"))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["dims"], [output], value=fill))
        _declare(model, output)

    return craft


def tensor(**changes: Any) -> Craft:
    """The first initialiser with other fields: dims, data or a location."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        weight = model.graph.initializer[0]
        if "dims" in changes:
            weight.dims[:] = changes["dims"]
        if "raw" in changes:
            weight.raw_data = changes["raw"]
        if "kind" in changes:
            weight.data_type = changes["kind"]
        if "external" in changes:
            weight.ClearField("raw_data")
            weight.data_location = TensorProto.EXTERNAL
            for key, value in changes["external"].items():
                weight.external_data.add(key=key, value=value)

    return craft


def loop(iterations: int) -> Craft:
    """The output goes through a loop that adds zero that many times."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        last = _detach(model, output)
        body = helper.make_graph(
            [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["x", "zero"], ["y"])],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            ],
        )
        for name, value in (("count", np.int64(iterations)), ("start", np.bool_(True)), ("zero", np.float32(0))):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        model.graph.node.append(helper.make_node("Loop", ["count", "start", last], [output], body=body))
        _declare(model, output)

    return craft


def branches(depth: int) -> Craft:
    """A branch inside a branch inside a branch, none of which computes anything."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        graph = helper.make_graph([], "leaf", [], [])
        for number in range(depth):
            node = helper.make_node(
                "If", ["yes"], [], then_branch=graph, else_branch=helper.make_graph([], "e", [], [])
            )
            graph = helper.make_graph([node], f"level{number}", [], [])
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "yes"))
        model.graph.node.extend(graph.node)

    return craft


def nested(depth: int) -> bytes:
    """The bytes of a model whose graphs lie that deep in each other, which the onnx package does not write."""
    graph = b""
    for _ in range(depth):
        graph = _field(1, _field(5, _field(6, graph)))  # a graph's node, its attribute, and that one's graph
    return _field(7, graph)


def _field(number: int, content: bytes) -> bytes:
    size, rest = b"", len(content)
    while rest > 0x7F:
        size, rest = size + bytes([rest & 0x7F | 0x80]), rest >> 7
    return bytes([number << 3 | 2]) + size + bytes([rest]) + content


def _detach(model: onnx.ModelProto, output: str) -> str:
    """Gives what was the output another name, and returns that."""
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    del model.graph.output[:]
    return "before"


def _declare(model: onnx.ModelProto, output: str, kind: int = TensorProto.FLOAT) -> None:
    model.graph.output.append(helper.make_tensor_value_info(output, kind, None))


def _input(kind: int, dims: list[Any] | None) -> Craft:
    """The first input with another type and shape."""

    def craft(model: onnx.ModelProto, output: str) -> None:
        changed = helper.make_tensor_value_info(model.graph.input[0].name, kind, dims)
        model.graph.input[0].CopyFrom(changed)

    return craft


def _extra_input(model: onnx.ModelProto, output: str) -> None:
    model.graph.input.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1]))


def _renamed_input(model: onnx.ModelProto, output: str) -> None:
    model.graph.input[0].name = "other"


def _no_input(model: onnx.ModelProto, output: str) -> None:
    del model.graph.input[:]


def _more_outputs(model: onnx.ModelProto, output: str) -> None:
    model.graph.node.append(helper.make_node("Identity", [output], ["more"]))
    model.graph.output.insert(0, helper.make_tensor_value_info("more", TensorProto.FLOAT, None))


def _other_output(model: onnx.ModelProto, output: str) -> None:
    _more_outputs(model, output)
    del model.graph.output[1:]


def _cycle(model: onnx.ModelProto, output: str) -> None:
    model.graph.node[0].input[0] = output


def _twice(model: onnx.ModelProto, output: str) -> None:
    model.graph.node.append(model.graph.node[0])


def _custom_domain(model: onnx.ModelProto, output: str) -> None:
    model.graph.node[-1].domain = "com.example.unknown"
    model.opset_import.add(domain="com.example.unknown", version=1)


def _no_graph(model: onnx.ModelProto, output: str) -> None:
    model.ClearField("graph")


def _empty_graph(model: onnx.ModelProto, output: str) -> None:
    model.graph.CopyFrom(onnx.GraphProto())


def _no_nodes(model: onnx.ModelProto, output: str) -> None:
    del model.graph.node[:]


def _version(ir: int, opset: int) -> Craft:
    def craft(model: onnx.ModelProto, output: str) -> None:
        model.ir_version = ir
        model.opset_import[0].version = opset

    return craft


def _times(value: float) -> Craft:
    return behind(("Mul", {"inputs": ["$", "factor"]}), factor=np.float32(value))


def _cast(kind: int) -> Craft:
    return behind(("Cast", {"to": kind}), kind=kind)


def _concat(axis: int) -> Craft:
    return behind(("Concat", {"inputs": ["$", "$"], "axis": axis}))


def _external(**entries: str) -> Craft:
    return tensor(external={"location": "model.onnx.data", **entries})


CRAFTS: dict[str, Craft] = {
    "as it was": lambda model, output: None,
    "one axis more": behind(("Unsqueeze", {"inputs": ["$", "axes"]}), axes=np.array([0])),
    "two axes": behind(("Flatten", {"axis": 1})),
    "no axis": behind(("ReduceMean", {"keepdims": 0})),
    "rows twice": _concat(0),
    "channels twice": _concat(1),
    "sides twice": _concat(2),
    "no rows": behind(
        ("Slice", {"inputs": ["$", "start", "end", "axis"]}), start=np.array([0]), end=np.array([0]), axis=np.array([0])
    ),
    "no channels": behind(
        ("Slice", {"inputs": ["$", "start", "end", "axis"]}), start=np.array([0]), end=np.array([0]), axis=np.array([1])
    ),
    "double": _cast(TensorProto.DOUBLE),
    "half": _cast(TensorProto.FLOAT16),
    "bfloat16": _cast(TensorProto.BFLOAT16),
    "whole numbers": _cast(TensorProto.INT64),
    "truth values": _cast(TensorProto.BOOL),
    "texts": _cast(TensorProto.STRING),
    "not a number": _times(float("nan")),
    "infinite": _times(float("inf")),
    "near infinite": _times(3e38),
    "large": _times(1e20),
    "beyond float": behind(
        ("Cast", {"to": TensorProto.DOUBLE}),
        ("Mul", {"inputs": ["$", "factor"]}),
        kind=TensorProto.DOUBLE,
        factor=np.float64(1e300),
    ),
    "a sequence": behind(("SequenceConstruct", {})),
    "a constant": instead([2, 4, 8, 8]),
    "an empty constant": instead([0]),
    "a constant beyond memory": instead([2**40, 2**10]),
    "a constant of negative size": instead([-1, 4]),
    "a loop": loop(ITERATIONS),
    "a loop that never runs": loop(-1),
    "branches": branches(20),
    "extra input": _extra_input,
    "renamed input": _renamed_input,
    "no input": _no_input,
    "input of texts": _input(TensorProto.STRING, None),
    "input of truth values": _input(TensorProto.BOOL, ["b"]),
    "input of one axis": _input(TensorProto.FLOAT, ["b"]),
    "input of fixed size": _input(TensorProto.FLOAT, [7, 7, 7, 7]),
    "input of whole numbers": _input(TensorProto.INT32, None),
    "more outputs": _more_outputs,
    "other output": _other_output,
    "a cycle": _cycle,
    "one node twice": _twice,
    "custom domain": _custom_domain,
    "unknown operator": behind(("NoSuchOperator", {})),
    "no graph": _no_graph,
    "empty graph": _empty_graph,
    "no nodes": _no_nodes,
    "later ir": _version(9999, 17),
    "later opset": _version(9, 9999),
    "no opset": _version(9, 0),
    "huge absent weights": tensor(dims=[2**40], raw=b""),
    "overflowing dims": tensor(dims=[2**62, 2**62], raw=b""),
    "negative dims": tensor(dims=[-4, 4, 3, 3]),
    "short weights": tensor(raw=b"\0\0\0"),
    "weights without a type": tensor(kind=0),
    "weights of an unknown type": tensor(kind=99),
    "external": _external(),
    "external with an offset": _external(offset="8", length="8"),
    "external beyond its file": _external(offset=str(2**40), length=str(2**40)),
    "external with a negative offset": _external(offset="-1", length="-1"),
    "external with no number": _external(offset="x", length=""),
    "external above": _external(location="../../tokenizer/vocab.json"),
    "external of the machine": _external(location="/etc/hostname"),
    "external without a name": _external(location=""),
    "external elsewhere": _external(location="nothing.data"),
    "external graph": _external(location="model.onnx"),
}
FILES: dict[str, bytes] = {
    "an empty file": b"",
    "zeros": b"\0" * 1000,
    "ones": b"\xff" * 1000,
    "a text": b"version https://git-lfs.github.com/spec/v1\n",
    "an endless number": b"\x08" + b"\xff" * 100,
    "a length beyond the file": b"\x3a\xff\xff\xff\xff\x0f",
    "deep graphs": nested(30),
    "deeper graphs": nested(3000),
}
