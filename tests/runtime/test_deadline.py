"""Calls that do not end by themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pruneguard.bundle import Bundle
from pruneguard.errors import ConfigError
from pruneguard.runtime import EngineError, GuardedSampler, OnnxEngine, draw, engine_components
from pruneguard.runtime.engines.deadline import Deadline
from tests.runtime.tiny_bundle import unet_graph


def endless_unet() -> onnx.ModelProto:
    """The tiny UNet behind a Loop that adds zero 2^62 times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["value", "zero"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["b", 4, "h", "w"]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["b", 4, "h", "w"]),
        ],
    )
    model = unet_graph()
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in {"turns": np.array(2**62), "yes": np.array(True), "zero": np.float32(0)}.items()
    )
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Loop", ["turns", "yes", "before"], ["out_sample"], body=body))
    return model


def inputs() -> dict[str, Any]:
    return {
        "sample": np.ones((1, 4, 8, 8), np.float32),
        "timestep": np.full(1, 500, np.float32),
        "encoder_hidden_states": np.zeros((1, 16, 8), np.float32),
    }


def test_a_graph_that_loops_for_ever_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnx.save(endless_unet(), str(tmp_path / "model.onnx"))
    engine = OnnxEngine.from_folder(tmp_path, threads=1, deadline_s=0.3)
    for _ in range(2):  # the session can be used again
        started = time.monotonic()
        with pytest.raises(EngineError, match=r"was stopped: a call lasted longer than 0\.3 s; .*deadline_s"):
            engine.run(inputs())
        assert 0.3 <= time.monotonic() - started < 5
    assert capfd.readouterr().err == ""


def test_a_bundle_is_served_under_its_deadline(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle(endless_unet())
    with pytest.raises(EngineError, match=r"longer than 0\.2 s"):
        GuardedSampler.from_bundle(path, deadline_s=0.2)("red", seed=1)
    components = engine_components(Bundle.open(path), "onnx-fp32", deadline_s=0.2)
    with pytest.raises(EngineError, match=r"longer than 0\.2 s"):
        draw(components, ["red"], [1])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "1", 86401])
def test_a_deadline_is_a_number_of_seconds(seconds: Any, tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="deadline_s must be a number of seconds above 0 and at most 86400"):
        GuardedSampler.from_bundle(tiny_bundle, deadline_s=seconds)


def test_only_the_call_that_is_late_is_stopped() -> None:
    deadline, stopped = Deadline(0.2), list[str]()
    late = threading.Event()

    def stop() -> None:
        stopped.append("slow")
        late.set()

    def slow() -> None:
        with deadline.during(stop):
            assert late.wait(5)

    thread = threading.Thread(target=slow)
    thread.start()
    while not late.is_set():
        with deadline.during(lambda: stopped.append("quick")):
            time.sleep(0.001)
    thread.join()
    time.sleep(0.3)  # until the calls that ended would have been due
    assert stopped == ["slow"]


def test_the_watching_thread_ends_when_nothing_runs_and_starts_again() -> None:
    def watchers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "engine deadline"}

    deadline, stopped = Deadline(0.05), threading.Event()
    for _ in range(2):
        before = watchers()  # those of earlier tests may end meanwhile
        with deadline.during(stopped.set):
            (own,) = watchers() - before
        own.join(5)
        assert not own.is_alive()
    assert not stopped.is_set()
    with deadline.during(stopped.set):
        assert stopped.wait(5)


def test_a_deadline_costs_microseconds_a_call() -> None:
    deadline = Deadline(60.0)
    with deadline.during(lambda: None):
        pass
    started = time.perf_counter()
    for _ in range(1000):
        with deadline.during(lambda: None):
            pass
    assert (time.perf_counter() - started) / 1000 < 200e-6  # a UNet call of the embedded model takes 20 ms
