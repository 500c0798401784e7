"""Token ids against transformers' CLIPTokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import CLIPTokenizer

from pruneguard.errors import BundleError, ConfigError, RequestError
from pruneguard.runtime import ClipTokenizer
from pruneguard.runtime.sampling.tokens import text_length
from tests.runtime.tiny_bundle import write_tokenizer

PROMPTS = [
    "",
    "red",
    "A Red  star, in\tflat style!",
    "it's 42 o'clock; déjà vu",
    "<|endoftext|> red",
    "x" * 40,
    "é日本",
]


@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
@pytest.mark.parametrize("form", ["vocab and merges", "tokenizer.json"])
def test_ids_equal_those_of_transformers(tmp_path: Path, pad: str, form: str) -> None:
    folder = tmp_path / "tokenizer"
    write_tokenizer(folder, pad)
    reference = CLIPTokenizer.from_pretrained(folder)
    assert reference.pad_token == pad
    if form == "tokenizer.json":
        reference.save_pretrained(folder)
        (folder / "vocab.json").unlink(missing_ok=True)
    tokens = ClipTokenizer.from_folder(folder, 16)(PROMPTS)
    expected = reference(PROMPTS, padding="max_length", max_length=16, truncation=True)["input_ids"]
    assert np.array_equal(tokens.ids, np.asarray(expected))
    assert tokens.ids.dtype == np.int64


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    tokens = ClipTokenizer.from_folder(tmp_path / "tokenizer", 16)(["red " * 14, "red " * 15, "red " * 20])
    assert tokens.truncated == (0, 1, 6)
    assert len(set(tokens.ids[:, -1])) == 1


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_a_broken_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BundleError, match="no readable tokenizer"):
        ClipTokenizer.from_folder(tmp_path, 16)


def test_an_unknown_pad_token_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer", "[PAD]")
    with pytest.raises(BundleError, match="pad token"):
        ClipTokenizer.from_folder(tmp_path / "tokenizer", 16)


TWO = {"<|startoftext|>": 0, "<|endoftext|>": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.json": json.dumps(TWO), "merges.txt": "#version: 0.2\n"}, "gives all prompts the same tokens"),
        ({"vocab.json": json.dumps(TWO), "merges.txt": ""}, "gives all prompts the same tokens"),
        ({"vocab.json": "[" * 100_000}, "vocab.json is not valid JSON"),
        ({"vocab.json": '{"a": -1}'}, "holds no readable tokenizer"),
        ({"merges.txt": "a b c\n"}, "holds no readable tokenizer"),
        ({"special_tokens_map.json": "[]"}, "must hold a JSON object"),
        ({"special_tokens_map.json": '{"pad_token": ["x"]}'}, r"pad_token must be a text, not \['x'\]"),
        ({"special_tokens_map.json": '{"pad_token": {}}'}, "pad_token must be a text, not {}"),
    ],
)
def test_a_tokenizer_that_is_not_whole_is_refused_in_one_line(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    for name, content in files.items():
        (tmp_path / "tokenizer" / name).write_text(content)
    with pytest.raises(BundleError, match=message) as caught:
        ClipTokenizer.from_folder(tmp_path / "tokenizer", 16)
    assert "\n" not in str(caught.value)


def test_a_pipe_or_a_huge_file_for_a_tokenizer_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    with (tmp_path / "tokenizer/tokenizer.json").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(BundleError, match=r"tokenizer\.json is larger than 16 MiB"):
        ClipTokenizer.from_folder(tmp_path / "tokenizer", 16)
    os.mkfifo(tmp_path / "tokenizer/special_tokens_map.json")
    with pytest.raises(BundleError, match=r"links or special files: special_tokens_map\.json"):
        ClipTokenizer.from_folder(tmp_path / "tokenizer", 16)


def test_a_panic_of_the_library_is_an_error_of_the_request(tmp_path: Path) -> None:
    """The expression takes exponential time on a long row of x, and the library panics when it gives up."""
    backend = Tokenizer(models.WordLevel({"a cat": 0, "<|endoftext|>": 1}, unk_token="<|endoftext|>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("(?:x+x+)+y"), "isolated")
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = ClipTokenizer.from_folder(tmp_path, 16)
    with pytest.raises(RequestError, match=r"prompt 1 cannot be tokenized .*retry-limit-in-match over"):
        tokenizer(["red", "x" * 2000])


@pytest.mark.parametrize("length", [0, 1, 2, 1.5, True, float("nan"), float("inf"), "77", []])
def test_a_length_that_leaves_no_room_for_a_prompt_is_refused(length: Any) -> None:
    with pytest.raises(ConfigError, match="model_max_length must be a whole number from 3"):
        text_length(length, 77)
    with pytest.raises(ConfigError, match="must be a whole number from 3"):
        text_length(77, length)
    assert [text_length(None, 77), text_length(1e30, 77), text_length(16, 77), text_length(77.0, 24)] == [
        77,
        77,
        16,
        24,
    ]
