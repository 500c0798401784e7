"""What was verified is what is loaded: files that are exchanged, overwritten or cut short change nothing."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pruneguard.bundle import Bundle, sha256_file
from pruneguard.errors import BundleError, LineageError
from pruneguard.runtime import GuardedSampler
from tests.processes import run_script
from tests.runtime.split_bundle import DATA, GRAPH, split, write_split_bundle
from tests.runtime.tiny_bundle import add_audit, unet_graph


@pytest.fixture(params=["in memory", "on disk"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Both places of a private copy; returns the folder in which copies on disk are made."""
    (tmp_path / "private").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "private"))
    if request.param == "on disk":
        monkeypatch.setattr("pruneguard.bundle.copies.IN_MEMORY", 0)
    return tmp_path / "private"


@pytest.fixture(params=["weights inside", "weights outside"])
def bundle(request: pytest.FixtureRequest, make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    return make_bundle() if request.param == "weights inside" else write_split_bundle(tmp_path / "bundle")


def while_loading(monkeypatch: pytest.MonkeyPatch, before: Callable[[], Any], after: Callable[[], Any]) -> None:
    """Calls `before` and `after` around the opening of each session."""
    opened = onnxruntime.InferenceSession

    def session(*arguments: Any, **options: Any) -> Any:
        before()
        try:
            return opened(*arguments, **options)
        finally:
            after()

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def picture(path: Path) -> bytes:
    sampler = GuardedSampler.from_bundle(path, digest=sha256_file(path / "bundle.json"))
    return sampler("red", seed=1).images[0].tobytes()


def test_a_folder_exchanged_while_it_loads_changes_nothing(
    bundle: Path, where: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = picture(bundle)
    forged, aside = tmp_path / "forged", tmp_path / "aside"
    for name in ("text_encoder", "unet", "vae_decoder"):
        (forged / "engines/onnx-fp32" / name).mkdir(parents=True)
        for file in (bundle / "engines/onnx-fp32" / name).iterdir():
            (forged / "engines/onnx-fp32" / name / file.name).write_bytes(file.read_bytes())
    graph = unet_graph()
    kernel = next(entry for entry in graph.graph.initializer if entry.name == "kernel")
    kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), "kernel"))
    onnx.save(graph, str(forged / GRAPH))
    if (bundle / DATA).exists():
        split(forged / GRAPH)
    exchanged: list[str] = []

    def exchange() -> None:
        bundle.rename(aside)
        forged.rename(bundle)
        exchanged.append("there")

    def restore() -> None:
        bundle.rename(forged)
        aside.rename(bundle)
        exchanged.append("and back")

    while_loading(monkeypatch, exchange, restore)
    assert picture(bundle) == expected
    assert exchanged == ["there", "and back"] * 3


def test_a_write_through_an_older_mapping_changes_nothing(
    bundle: Path, where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = picture(bundle)
    target = bundle / DATA if (bundle / DATA).exists() else bundle / GRAPH
    kernel = numpy_helper.to_array(onnx.load(str(bundle / GRAPH)).graph.initializer[0]).tobytes()
    with target.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        place = mapped.find(kernel)
        assert place >= 0

        def write() -> None:
            mapped[place : place + len(kernel)] = bytes(len(kernel))

        def restore() -> None:
            mapped[place : place + len(kernel)] = kernel

        while_loading(monkeypatch, write, restore)
        assert picture(bundle) == expected


def test_weights_overwritten_and_cut_short_after_the_load_change_nothing(tmp_path: Path) -> None:
    assert run_script("tests.runtime.overwritten_run", tmp_path) == "2\n"


def test_a_copy_on_disk_is_private_and_does_not_stay(
    bundle: Path, where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    def look() -> None:
        modes.extend(folder.stat().st_mode & 0o777 for folder in where.iterdir())

    while_loading(monkeypatch, look, lambda: None)
    picture(bundle)
    assert set(modes) <= {0o700}
    assert list(where.iterdir()) == []
    (bundle / GRAPH).write_bytes(b"not a model")
    with pytest.raises(LineageError, match="changed: "):
        picture(bundle)
    assert list(where.iterdir()) == []


def test_a_copy_that_has_no_room_says_where_it_is_made(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pruneguard.bundle.copies.IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match=r"copied to .*nowhere \(No such file.*name another folder by TMPDIR"):
        GuardedSampler.from_bundle(tiny_bundle)


def test_a_file_that_grows_while_it_is_read_is_not_followed(tiny_bundle: Path) -> None:
    os.truncate(tiny_bundle / GRAPH, 1 << 40)
    with pytest.raises(LineageError, match=f"changed: {GRAPH}"):
        GuardedSampler.from_bundle(tiny_bundle)


def test_only_the_files_of_the_engine_are_copied(make_bundle: Callable[..., Path]) -> None:
    def fill(draft: Any) -> None:
        (draft.folder / "model/unet").mkdir(parents=True)
        (draft.folder / "model/unet/weights").write_bytes(b"weights")
        add_audit(draft)

    opened = Bundle.open(make_bundle(change=fill))
    with opened.verified("onnx-fp32") as files:
        assert "engines/onnx-fp32/unet/model.onnx" in files and "model/unet/weights" not in files
        assert files.part("engines/onnx-fp32/tokenizer").read_json("vocab.json")["re"] == 188
    (opened.path / "model/unet/weights").write_bytes(b"Weights")
    with pytest.raises(LineageError, match="changed: model/unet/weights"), opened.verified("onnx-fp32"):
        pass


def test_loading_takes_little_more_memory_than_the_weights(tmp_path: Path) -> None:
    side, count = 2048, 8
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal((side, side), np.float32), f"w{place}") for place in range(count)
    ]
    nodes = [helper.make_node("MatMul", [f"x{place}", f"w{place}"], [f"x{place + 1}"]) for place in range(count)]
    ends = [helper.make_tensor_value_info(name, 1, ["b", side]) for name in ("x0", f"x{count}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    split(path)
    size = path.with_name("model.onnx.data").stat().st_size
    assert size == 4 * side * side * count
    assert int(run_script("tests.runtime.memory_run", tmp_path)) <= 1.3 * size + (8 << 20)
