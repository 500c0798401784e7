"""The engine of a bundle that is served: by name, or the fastest that passed and runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from pruneguard.bundle import Bundle, BundleDraft, PrivateCopy, copy_folder, write_bundle
from pruneguard.errors import AuditError, BundleError, ConfigError, LineageError
from pruneguard.measurement import Measurement
from pruneguard.runtime import BACKENDS, GuardedSampler, choose_engine, draw, engine_components
from pruneguard.runtime.engines.onnx_engine import OnnxRuntime
from tests.runtime.tiny_bundle import add_audit, engine_record, unet_graph


class Elsewhere:
    """A backend that runs on no machine."""

    def usable(self, options: Any) -> str:
        return "no such accelerator here"

    def open(self, files: PrivateCopy, component: str, options: Any) -> Any:
        raise AssertionError("an engine that cannot run was opened")


@pytest.fixture
def elsewhere() -> Iterator[None]:
    BACKENDS.register("elsewhere")(Elsewhere)
    yield
    BACKENDS.remove("elsewhere")


def speed(milliseconds: float) -> list[Measurement]:
    return [Measurement(name="latency/image", value=milliseconds, unit="ms")]


@pytest.fixture
def several(make_bundle: Callable[..., Path]) -> Callable[..., Bundle]:
    """A bundle with the engines `onnx-fp32`, `fast` and `slow`, which share files; a rate None means no audit."""

    def make(rates: dict[str, float | None], **changes: Any) -> Bundle:
        def fill(draft: BundleDraft) -> None:
            for name, milliseconds in (("fast", 10.0), ("slow", 30.0)):
                record = engine_record(measurements=speed(milliseconds), options={"as": name})
                draft.add_engine(name, msgspec.structs.replace(record, **changes.get(name, {})))
            for name, rate in rates.items():
                if rate is not None:
                    add_audit(draft, rate=rate, subject=name)

        return Bundle.open(make_bundle(change=fill))

    return make


def test_the_fastest_that_passed_is_served(several: Callable[..., Bundle]) -> None:
    bundle = several({"onnx-fp32": 0.0, "fast": 0.01, "slow": 0.0})
    assert choose_engine(bundle) == "fast"
    assert choose_engine(bundle, limit=0.015) == "slow"
    assert GuardedSampler.from_bundle(bundle.path).engine == "fast"
    assert GuardedSampler.from_bundle(bundle.path, engine="onnx-fp32").engine == "onnx-fp32"


def test_an_engine_without_a_measured_speed_comes_last(several: Callable[..., Bundle]) -> None:
    assert choose_engine(several({"onnx-fp32": 0.0, "slow": 0.0, "fast": 0.4})) == "slow"
    assert choose_engine(several({"onnx-fp32": 0.0, "slow": 0.4, "fast": 0.4})) == "onnx-fp32"


def test_an_engine_that_cannot_run_here_is_passed_over_and_refused_by_name(
    several: Callable[..., Bundle], elsewhere: None
) -> None:
    bundle = several({"onnx-fp32": None, "fast": 0.0, "slow": 0.0}, fast={"backend": "elsewhere"})
    assert choose_engine(bundle) == "slow"
    with pytest.raises(ConfigError, match="engine 'fast': no such accelerator here"):
        GuardedSampler.from_bundle(bundle.path, engine="fast")


def test_if_none_can_be_served_each_reason_is_told(several: Callable[..., Bundle], elsewhere: None) -> None:
    bundle = several({"fast": 0.0, "slow": 0.4}, fast={"backend": "elsewhere"})
    with pytest.raises(BundleError, match=r"no engine can be served: .*no such accelerator.*failed its audit.*never"):
        GuardedSampler.from_bundle(bundle.path)
    with pytest.raises(AuditError, match="failed its audit"):
        GuardedSampler.from_bundle(bundle.path, engine="slow")
    with pytest.raises(LineageError, match="never audited"):
        GuardedSampler.from_bundle(bundle.path, engine="onnx-fp32")
    with pytest.raises(BundleError, match="'model' is the torch model, not an engine"):
        GuardedSampler.from_bundle(bundle.path, engine="model")
    with pytest.raises(BundleError, match="has no engine 'fats': did you mean 'fast'"):
        GuardedSampler.from_bundle(bundle.path, engine="fats")


def test_a_bundle_may_hold_several_unets(make_bundle: Callable[..., Path]) -> None:
    place = "engines/onnx-fp32"

    def add_second(draft: BundleDraft) -> None:
        graph = unet_graph()
        kernel = next(entry for entry in graph.graph.initializer if entry.name == "kernel")
        kernel.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(kernel), "kernel"))
        folder = draft.folder / place / "unet-second"
        folder.mkdir()
        onnx.save(graph, str(folder / "model.onnx"))
        components = {**engine_record().components, "unet/second": f"{place}/unet-second"}
        draft.add_engine("onnx-fp32", engine_record(components=components))
        draft.update(unets={"default": "model/unet", "second": "model/unet-second"})
        add_audit(draft)

    path = make_bundle(change=add_second)
    bundle = Bundle.open(path)
    first, second = (
        draw(engine_components(bundle, "onnx-fp32", unet=unet), ["red"], [1], steps=3) for unet in ("default", "second")
    )
    assert not np.array_equal(first, second)
    with pytest.raises(BundleError, match="has no unet/third"):
        engine_components(bundle, "onnx-fp32", unet="third")


def test_a_new_backend_is_one_class_that_registers_itself(tiny_bundle: Path) -> None:
    """The toy runs a graph whose file has another name, and the runtime draws with it."""

    class Toy(OnnxRuntime):
        def open(self, files: PrivateCopy, component: str, options: Any) -> Any:
            with (
                files.on_disk() as folder,
                copy_folder((folder / "graph.toy").rename(folder / "model.onnx").parent) as own,
            ):
                return super().open(own, component, options)

    bundle = Bundle.open(tiny_bundle)
    expected = draw(engine_components(bundle, "onnx-fp32"), ["red"], [1], steps=3)
    toy = msgspec.structs.replace(bundle.manifest.engines["onnx-fp32"], backend="toy")
    BACKENDS.register("toy")(Toy)
    try:
        with write_bundle(tiny_bundle, base=tiny_bundle) as draft:
            for file in draft.folder.rglob("model.onnx"):
                file.rename(file.with_name("graph.toy"))
            draft.update(engines={"toy": toy})
        drawn = draw(engine_components(Bundle.open(tiny_bundle), "toy"), ["red"], [1], steps=3)
    finally:
        BACKENDS.remove("toy")
    assert np.array_equal(drawn, expected)


def test_a_backend_that_nobody_registered_is_named(make_bundle: Callable[..., Path]) -> None:
    def fill(draft: BundleDraft) -> None:
        draft.add_engine("onnx-fp32", engine_record(backend="onnxruntim"))
        add_audit(draft)

    with pytest.raises(ConfigError, match="unknown engine backend 'onnxruntim': did you mean 'onnxruntime'"):
        GuardedSampler.from_bundle(make_bundle(change=fill))
