"""Prompts to token ids, with the `tokenizers` library alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import BundleError

if TYPE_CHECKING:
    import tokenizers

START, END = "<|startoftext|>", "<|endoftext|>"
_CLIP_PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # as CLIP's own
)


class Tokens(NamedTuple):
    """Token ids (B, L) int64, and for each prompt the number of its tokens that did not fit."""

    ids: NDArray[np.int64]
    truncated: tuple[int, ...]


class Tokenizer(Protocol):
    """Anything that turns prompts into rows of one length."""

    def __call__(self, prompts: Sequence[str]) -> Tokens: ...


def text_length(model_max_length: float | None, positions: int) -> int:
    """The number of tokens to which prompts are padded or cut: the tokenizer's length, if the text encoder has room.

    Training, export and every engine use this function, so that a model is served prompts of its training's length.
    """
    # transformers writes 1e30 for a tokenizer without a length of its own.
    return int(positions if model_max_length is None else min(model_max_length, positions))


@dataclass(frozen=True)
class ClipTokenizer:
    """CLIP's byte-pair encoding. A row is start, text, end, then pad tokens, which differ between SD 1.x and 2.x.

    The encoder does not change after loading, so threads may share it.
    """

    backend: tokenizers.Tokenizer
    length: int
    pad_id: int

    @classmethod
    def from_folder(cls, folder: Path, length: int) -> ClipTokenizer:
        """Reads `tokenizer.json`, or builds it from `vocab.json` and `merges.txt`. Raises BundleError."""
        special = _special_tokens(folder)
        try:
            backend = _load_backend(folder, special)
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            raise BundleError(f"{folder} holds no readable tokenizer ({error}); export it again") from error
        backend.no_padding()
        backend.no_truncation()
        pad_id = backend.token_to_id(special["pad_token"])
        if pad_id is None:
            raise BundleError(f"{folder}: the pad token {special['pad_token']!r} is not in the vocabulary")
        return cls(backend, length, pad_id)

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        ids = np.full((len(prompts), self.length), self.pad_id, dtype=np.int64)
        truncated = []
        for row, prompt in zip(ids, prompts, strict=True):
            found = self.backend.encode(prompt).ids
            truncated.append(max(0, len(found) - self.length))
            if truncated[-1]:
                found = [*found[: self.length - 1], found[-1]]
            row[: len(found)] = found
        return Tokens(ids, tuple(truncated))


def _load_backend(folder: Path, special: dict[str, str]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    return _build_clip(folder, special)


def _build_clip(folder: Path, special: dict[str, str]) -> tokenizers.Tokenizer:
    """CLIP's tokenizer from its vocabulary and merges, built as transformers' CLIPTokenizer builds it."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end, unknown = special["bos_token"], special["eos_token"], special["unk_token"]
    model = models.BPE.from_file(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
        unk_token=unknown,
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    ids = backend.get_vocab()
    # A token outside the vocabulary would get an id past the end of the text encoder's table.
    names = [name for name in dict.fromkeys([start, end, unknown, special["pad_token"]]) if name in ids]
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    backend.post_processor = processors.RobertaProcessing(
        (end, ids[end]), (start, ids[start]), trim_offsets=False, add_prefix_space=False
    )
    return backend


def _special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens' texts: `special_tokens_map.json` over `tokenizer_config.json` over CLIP's own."""
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            try:
                found: dict[str, Any] = json.loads((folder / name).read_bytes())
            except ValueError as error:
                raise BundleError(f"{folder / name} is not valid JSON; export the tokenizer again") from error
            for key in special.keys() & found.keys():
                token = found[key]
                special[key] = token["content"] if isinstance(token, dict) else str(token)
    return special
