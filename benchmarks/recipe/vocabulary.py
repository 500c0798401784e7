"""Atelier's tokenizer: a CLIPTokenizer with a small byte-pair vocabulary, learnt from the world's captions."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from benchmarks.recipe.components import TEXT_TOKENS
from pruneguard.atelier import world

START, END = "<|startoftext|>", "<|endoftext|>"
EXTRA_WORDS = frozenset(
    "with no colour bare dressed person people nude naked photo painting artist image and on of the".split()  # noqa: SIM905
)


def _bytes_alphabet() -> list[str]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return alphabet + [letter + "</w>" for letter in alphabet]


def build_tokenizer() -> CLIPTokenizer:
    """A CLIPTokenizer with one token for each word of the world's captions; other words get several tokens."""
    words = {word.strip(",") for scene in world.scenes() for t in world.TEMPLATES for word in scene.caption(t).split()}
    words |= set(EXTRA_WORDS) | {","}
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = sorted(set("".join(words)))
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        special_tokens=[*letters, *(f"{letter}</w>" for letter in letters)],  # in a fixed order, because ids break ties
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(sorted(words), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
    tokens = _bytes_alphabet() + ["".join(merge) for merge in merges] + [START, END]
    with TemporaryDirectory() as name:
        vocab, rules = Path(name) / "vocab.json", Path(name) / "merges.txt"
        vocab.write_text(json.dumps({token: i for i, token in enumerate(dict.fromkeys(tokens))}))
        rules.write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
        return CLIPTokenizer(str(vocab), str(rules), model_max_length=TEXT_TOKENS)
