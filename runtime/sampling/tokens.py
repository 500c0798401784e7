"""Prompts to token ids, with the `tokenizers` library alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pruneguard.bundle import TEXT_LIMIT, PrivateCopy, copy_folder
from pruneguard.errors import BundleError, ConfigError, RequestError

if TYPE_CHECKING:
    import tokenizers

START, END = "<|startoftext|>", "<|endoftext|>"
_CLIP_PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # as CLIP's own
)
LEAST_TOKENS = 3  # start, one of the text, end: with fewer all prompts are one
PROBES = ("a cat", "the house")
"""Two prompts of everyday words, which a whole tokenizer tells apart, even in LEAST_TOKENS."""


class Tokens(NamedTuple):
    """Token ids (B, L) int64, and for each prompt the number of its tokens that did not fit."""

    ids: NDArray[np.int64]
    truncated: tuple[int, ...]


class Tokenizer(Protocol):
    """Anything that turns prompts into rows of one length."""

    def __call__(self, prompts: Sequence[str]) -> Tokens: ...


def text_length(model_max_length: object, positions: object) -> int:
    """The number of tokens to which prompts are padded or cut: the tokenizer's length, if the text encoder has room.

    Training, export and every engine use this function, so that a model is served prompts of its training's length.
    Raises ConfigError for a value that is no whole number, or that leaves no room for a prompt.
    """
    # transformers writes 1e30 for a tokenizer without a length of its own.
    length = positions if model_max_length is None else model_max_length
    for name, value in (("model_max_length", length), ("max_position_embeddings", positions)):
        if type(value) not in (int, float) or value != value // 1 or value < LEAST_TOKENS:  # type: ignore[operator]
            raise ConfigError(f"{name} must be a whole number from {LEAST_TOKENS}, not {value!r}; mend the tokenizer")
    return int(min(length, positions))  # type: ignore[call-overload]


def tell_apart(tokenizer: Tokenizer) -> bool:
    """Whether two different prompts get different tokens. A tokenizer without its vocabulary makes all prompts one."""
    first, second = tokenizer(PROBES).ids
    return not np.array_equal(first, second)


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """Turns a panic of the tokenizers library into a ValueError: it is no Exception, and would end the program."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizers library gave up: {error}") from error


@dataclass(frozen=True)
class ClipTokenizer:
    """CLIP's byte-pair encoding. A row is start, text, end, then pad tokens, which differ between SD 1.x and 2.x.

    The encoder does not change after loading, so threads may share it.
    """

    backend: tokenizers.Tokenizer
    length: int
    pad_id: int

    @classmethod
    def from_files(cls, files: PrivateCopy, length: int) -> ClipTokenizer:
        """Reads `tokenizer.json`, or builds it from `vocab.json` and `merges.txt`.

        Raises BundleError for files that are missing, damaged or too large, and for a tokenizer that does not tell
        prompts apart.
        """
        special = _special_tokens(files)
        try:
            with panics_as_errors():
                backend = _load_backend(files, special)
        except BundleError:
            raise
        except Exception as error:  # the library raises bare Exception for whatever it cannot read
            said = " ".join(str(error).split())[:300]
            raise BundleError(f"{files.source} holds no readable tokenizer ({said}); export it again") from error
        backend.no_padding()
        backend.no_truncation()
        pad_id = backend.token_to_id(special["pad_token"])
        if pad_id is None:
            raise BundleError(f"{files.source}: the pad token {special['pad_token']!r} is not in the vocabulary")
        tokenizer = cls(backend, length, pad_id)
        try:
            apart = tell_apart(tokenizer)
        except RequestError as error:
            raise BundleError(f"{files.source} holds no working tokenizer ({error}); export it again") from error
        if not apart:
            raise BundleError(f"{files.source} gives all prompts the same tokens: it is not whole; export it again")
        return tokenizer

    @classmethod
    def from_folder(cls, folder: Path, length: int) -> ClipTokenizer:
        """The tokenizer of a folder without a manifest. Raises BundleError."""
        with copy_folder(folder) as files:
            return cls.from_files(files, length)

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Raises RequestError for a prompt on which the tokenizer fails."""
        ids = np.full((len(prompts), self.length), self.pad_id, dtype=np.int64)
        truncated = []
        for index, (row, prompt) in enumerate(zip(ids, prompts, strict=True)):
            try:
                with panics_as_errors():
                    found = self.backend.encode(prompt).ids
            except Exception as error:  # the library raises bare Exception
                raise RequestError(f"prompt {index} cannot be tokenized ({error}); change its text") from error
            truncated.append(max(0, len(found) - self.length))
            if truncated[-1]:
                found = [*found[: self.length - 1], found[-1]]
            row[: len(found)] = found
        return Tokens(ids, tuple(truncated))


def _load_backend(files: PrivateCopy, special: dict[str, str]) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    if "tokenizer.json" in files:
        return Tokenizer.from_buffer(files.read("tokenizer.json", TEXT_LIMIT))
    if missing := [name for name in ("vocab.json", "merges.txt") if name not in files]:
        raise ValueError(f"it has neither tokenizer.json nor {' and '.join(missing)}")
    return _build_clip(files, special)


def _build_clip(files: PrivateCopy, special: dict[str, str]) -> tokenizers.Tokenizer:
    """CLIP's tokenizer from its vocabulary and merges, built as transformers' CLIPTokenizer builds it."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end, unknown = special["bos_token"], special["eos_token"], special["unk_token"]
    text = files.read("merges.txt", TEXT_LIMIT).decode().replace("\r\n", "\n").removesuffix("\n")
    lines = [line for line in text.split("\n") if text and not line.startswith("#version")]
    model = models.BPE(
        vocab=files.read_json("vocab.json"),
        merges=[tuple(line.split(" ")) for line in lines],  # type: ignore[misc]
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


def _special_tokens(files: PrivateCopy) -> dict[str, str]:
    """The special tokens' texts: `special_tokens_map.json` over `tokenizer_config.json` over CLIP's own."""
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        found = files.read_json(name) if name in files else {}
        for key in special.keys() & found.keys():
            token = found[key]["content"] if isinstance(found[key], dict) and "content" in found[key] else found[key]
            if not isinstance(token, str):
                raise BundleError(f"{files.source / name}: {key} must be a text, not {token!r}; export it again")
            special[key] = token
    return special
