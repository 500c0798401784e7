from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from benchmarks.recipe.components import TEXT_TOKENS, build_text_encoder
from benchmarks.recipe.vocabulary import END, START, build_tokenizer
from pruneguard.atelier.world import TEMPLATES, scenes


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


def test_two_builds_are_the_same(tokenizer: CLIPTokenizer) -> None:
    again = build_tokenizer()
    assert again.get_vocab() == tokenizer.get_vocab()
    text = "a Magenta heart, zigzag style"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_every_word_of_a_caption_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for scene in scenes():
        for template in TEMPLATES:
            caption = scene.caption(template)
            words = caption.replace(",", " ,").split()
            pieces = tokenizer.convert_ids_to_tokens(tokenizer(caption)["input_ids"])
            assert pieces == [START, *(f"{word}</w>" for word in words), END]


@pytest.mark.parametrize("text", ["naked people", "Ελλάδα", "日本語 🎨", "x1!?", "an UNSEEN-word", ""])
def test_text_that_the_world_never_says_still_has_tokens(tokenizer: CLIPTokenizer, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert all(0 <= token < len(tokenizer) for token in ids)
    inside = tokenizer.convert_ids_to_tokens(ids[1:-1])
    assert (len(inside) > 0) == bool(text)
    assert END not in inside  # which CLIP's tokenizer gives for what it does not know


def test_different_words_have_different_tokens(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer("hatching")["input_ids"] != tokenizer("hatchings")["input_ids"]
    assert tokenizer("RED star")["input_ids"] == tokenizer("red star")["input_ids"]


def test_prompts_are_padded_and_cut_to_what_the_text_encoder_reads(tokenizer: CLIPTokenizer) -> None:
    rows = tokenizer(["a disc", "star " * 100], padding="max_length", truncation=True)["input_ids"]
    assert [len(row) for row in rows] == [TEXT_TOKENS, TEXT_TOKENS]
    encoder = build_text_encoder(tokenizer)
    assert encoder.config.vocab_size == len(tokenizer)
    assert encoder.config.eos_token_id == tokenizer.eos_token_id


def test_saved_and_loaded_it_is_the_same(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("a red star in flat style", "日本語, hatching style", ""):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
