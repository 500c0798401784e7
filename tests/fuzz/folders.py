"""Model folders: a diffusers folder of which one or more files were harmed."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pruneguard.models import load_pipeline
from tests.fuzz.documents import edited, encode, harmed
from tests.fuzz.values import pick, shown

TOKENIZER, TOKENIZER_CONFIG = "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"
SCHEDULER = "scheduler/scheduler_config.json"
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
PANICS = {"type": "Split", "pattern": {"Regex": "(?:\\p{L}+\\p{L}+)+y"}, "behavior": "Isolated", "invert": False}
"""A pre-tokenizer whose expression takes exponential time, at which the tokenizers library panics."""

Change = tuple[str, str, Any]
"""A file, what is done to it, and with what."""


def _each(file: str, key: str, *values: Any) -> list[tuple[str, str, Any]]:
    return [(file, key, value) for value in values]


_SETTINGS: list[tuple[str, str, Any]] = [
    *_each(TOKENIZER_CONFIG, "model_max_length", 0, 1, 1.5, True, -1, "77", 10**30, 1e30, None, []),
    *_each(TOKENIZER_CONFIG, "pad_token", "nothing", None, 5, {"content": 3}, ""),
    (TOKENIZER_CONFIG, "tokenizer_class", "NoTokenizer"),
    (TOKENIZER_CONFIG, "auto_map", {"AutoTokenizer": ["code.Tokenizer", None]}),
    (TOKENIZER, "pre_tokenizer", PANICS),
    (TOKENIZER, "model", {"type": "BPE", "vocab": {}, "merges": []}),
    *_each(SCHEDULER, "num_train_timesteps", 10**9, 10**12, 0, -1, 1.5, "1000", None, True),
    *_each(SCHEDULER, "beta_schedule", "nothing", 3, None),
    *_each(SCHEDULER, "trained_betas", [], ["x"], [float("nan")], 10**9, {}),
    *_each(TEXT, "num_hidden_layers", 10**9, 10**5, 0, -1, 1.5, "1"),
    *_each(TEXT, "max_position_embeddings", 10**10, 10**7, 0, 1, "32", None),
    *_each(TEXT, "vocab_size", 10**12, 10**7, 1, 0),
    *_each(TEXT, "num_attention_heads", 0, 3, 10**9),
    *_each(TEXT, "hidden_act", "nothing", 3, None),
    *_each(UNET, "layers_per_block", 10**9, 10**5, [1], 0, -1, "1", [[1]]),
    *_each(UNET, "transformer_layers_per_block", 10**9, 10**5, [[10**5]], None),
    *_each(UNET, "sample_size", 10**9, 0, "x", None, [8, 8]),
    *_each(UNET, "block_out_channels", [10**9, 10**9], [32], [], [32] * 10**4, "32"),
    *_each(UNET, "num_class_embeds", 10**10, 10**7, "x"),
    *_each(UNET, "cross_attention_dim", 10**9, [32, 32], None, "32"),
    (UNET, "pruning_plan", {"blocks": "x"}),
    (UNET, "pruning_plan", 5),
    *_each(VAE, "layers_per_block", 10**9, 10**5, 0, "1"),
    *_each(VAE, "block_out_channels", [], [8] * 20, 8, [8, 8, "x"]),
    *_each(VAE, "scaling_factor", 0, "x", None, float("nan")),
]


@dataclass(frozen=True, repr=False)
class HarmedFolder:
    """What is changed in a copy of the folder `base`."""

    base: Path
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return "; ".join(f"{file}: {how} {self._pieces(file, value)}" for file, how, value in self.changes)

    def _pieces(self, file: str, value: Any) -> object:
        """What the new content of a JSON file has and the old one has not."""
        if not isinstance(value, bytes) or not file.endswith(".json"):
            return shown(value)
        known = {*encode(json.loads((self.base / file).read_bytes())).split(b", ")}
        return len(value), [piece[:200] for piece in value.split(b", ") if piece not in known][:6]

    def load(self, place: Path) -> None:
        """Makes the folder at `place`, loads it and encodes two prompts. Raises whatever the loader raises."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.base, place, copy_function=os.link)
        try:
            for file, how, value in self.changes:
                _apply(place / file, how, value)
            load_pipeline(place).encode_text(["a red cat", ""])
        finally:
            shutil.rmtree(place, ignore_errors=True)


def contents(base: Path) -> dict[str, bytes]:
    """The content of every file of a folder, by its path."""
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


@st.composite
def folders(draw: st.DrawFn, base: Path, files: Mapping[str, bytes]) -> HarmedFolder:
    """A folder with one or two changes."""
    return HarmedFolder(base, tuple(_change(draw, files) for _ in range(draw(st.integers(1, 2)))))


def _change(draw: st.DrawFn, files: Mapping[str, bytes]) -> Change:
    kind = draw(st.sampled_from(["setting"] * 4 + ["edit"] * 4 + ["harm", "replace", "weights", "index"]))
    configurations = [name for name in files if name.endswith(".json")]
    weights = [name for name in files if name.endswith(".safetensors")]
    if kind == "setting":
        name, key, value = draw(pick(_SETTINGS))
        return name, "write", encode({**json.loads(files[name]), key: value})
    if kind == "edit":
        name = draw(st.sampled_from(configurations))
        return name, "write", encode(draw(edited(json.loads(files[name]), most=2)))
    if kind == "harm":
        name = draw(st.sampled_from(sorted(files)))
        return name, "write", draw(harmed(files[name][: 1 << 20]))
    if kind == "weights":
        name = draw(st.sampled_from(weights))
        return name, "write", _header(draw, files[name])
    if kind == "index":
        name = draw(st.sampled_from(weights))
        return name, "index", _index(draw, Path(name).name)
    how = draw(st.sampled_from(["remove", "empty", "pointer", "pipe", "folder", "link", "dangling", "device", "bin"]))
    return draw(st.sampled_from(sorted(files))), how, None


def _header(draw: st.DrawFn, data: bytes) -> bytes:
    """A safetensors file with another header, whose length is right or wrong."""
    (length,) = struct.unpack("<Q", data[:8])
    header = encode(draw(edited(json.loads(data[8 : 8 + length]), most=2)))
    stated = draw(st.sampled_from([len(header)] * 4 + [0, 1, len(header) + 1, 2**40, 2**63, 2**64 - 1]))
    return struct.pack("<Q", stated) + header + data[8 + length :]


def _index(draw: st.DrawFn, shard: str) -> bytes:
    """The content of an index that names a shard, or something else."""
    maps: list[Any] = [
        {"a": f"model-{shard}"},
        {"a": shard},
        {"a": 5},
        {"a": None},
        {"a": ["x"]},
        {"a": "../x"},
        {"a": "/etc/hostname"},
        {"a": ""},
        {"a": "."},
        {"a": ".."},
        {"a": "a\0b"},
        {"a": "\ud800"},
        {"a": "x" * 300},
        {},
        [],
        5,
        None,
    ]
    metadata: list[Any] = [{"total_size": 1}, {}, None, 5]
    return encode({"metadata": draw(pick(metadata)), "weight_map": draw(pick(maps))})


def _apply(path: Path, how: str, value: Any) -> None:
    if path.is_dir() or path.is_symlink() or not path.exists():  # an earlier change of the same file
        return
    content = path.read_bytes() if path.is_file() else b""
    path.unlink()  # the file is shared with the whole folder
    makers: dict[str, Callable[[], object]] = {
        "write": lambda: path.write_bytes(value),
        "remove": lambda: None,
        "empty": lambda: path.write_bytes(b""),
        "pointer": lambda: path.write_bytes(POINTER),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("/etc/hostname"),
        "dangling": lambda: path.symlink_to("nowhere"),
        "device": lambda: path.symlink_to("/dev/zero"),
        "bin": lambda: path.with_suffix(".bin").write_bytes(content),
    }
    if how == "index":
        path.with_name(f"model-{path.name}").write_bytes(content)
        path.with_name(f"{path.name}.index.json").write_bytes(value)
    else:
        makers[how]()
