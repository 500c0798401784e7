"""Token ids against transformers' CLIPTokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import CLIPTokenizer

from pruneguard.errors import BundleError
from pruneguard.runtime import ClipTokenizer
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
