"""Documents: JSON that was edited, cut, nested or filled with values that no program of ours writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.values import HUGE, pick

_DIGITS, _DEEP = "@digits@", "@deep@"
"""Stand for a number of 5,000 digits and a list of 100,000 levels, which the json module does not write."""
_TEXTS = [
    *("", "x", "a b", "\0", "\ud800", "é", "\x1b[2J", "a" * 5000),
    *("../bundle.json", "/etc/hostname", "a\\b", "C:x", "..", ".", "engines//x", "model", "default", "cuda"),
    *("engines", "engines/onnx-fp32/unet", "engines/onnx-fp32/tokenizer/vocab.json", "f" * 64, "F" * 64, "0" * 63),
]
_NUMBERS = [0, 1, -1, 2, 3, 64, 99999, 2**31, 2**63, HUGE, -HUGE, 0.5, -0.0, 1.5, 1e308, float("nan"), float("inf")]

Path = tuple[str | int, ...]


def oddities() -> st.SearchStrategy[Any]:
    """Values of every type that JSON has, and some that it has not."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        pick(_NUMBERS),
        pick(_TEXTS),
        st.just(_DIGITS),
        st.just(_DEEP),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
    )
    return st.one_of(
        leaves,
        st.lists(leaves, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=4), pick(_TEXTS)), leaves, max_size=3),
        st.just([[[{}]]]),
    )


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of all values inside a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*at, key)
        yield from places(entry, (*at, key))


@st.composite
def edited(draw: st.DrawFn, document: Mapping[str, Any], most: int = 3) -> dict[str, Any]:
    """The document with up to `most` values dropped, replaced, wrapped, repeated or exchanged."""
    changed = copy.deepcopy(dict(document))
    for _ in range(draw(st.integers(0, most))):
        known = list(places(changed))
        if not known:
            break
        at = draw(pick(known))
        holder: Any = changed
        for key in at[:-1]:
            holder = holder[key]
        _edit(draw, holder, at[-1])
    return changed


def _edit(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "wrap", "rename", "repeat", "scale"]))
    value = holder[key]
    if how == "drop":
        del holder[key]
    elif how == "wrap":
        holder[key] = draw(st.sampled_from([[value], {"x": value}, [value, value], str(value)]))
    elif how == "rename" and isinstance(holder, dict):
        holder[draw(pick(_TEXTS))] = holder.pop(key)
    elif how == "repeat" and isinstance(value, list):
        holder[key] = value * draw(st.integers(2, 50))
    elif how == "scale" and isinstance(value, int | float):
        holder[key] = draw(st.sampled_from([-value, value + 1, value * 1000, float(value), value / 7, str(value)]))
    else:
        holder[key] = draw(oddities())


def encode(document: Any) -> bytes:
    """The document as JSON, with what only stands for a value written out."""
    text = json.dumps(document)
    text = text.replace(json.dumps(_DIGITS), "9" * 5000).replace(json.dumps(_DEEP), "[" * 100_000 + "]" * 100_000)
    return text.encode()


@st.composite
def harmed(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes cut, changed, or with something before, inside or behind them."""
    at = draw(st.one_of(st.sampled_from([0, 1, 2, len(data) // 2, len(data) - 1]), st.integers(0, len(data) - 1)))
    at = max(0, at)
    match draw(st.sampled_from(["cut", "flip", "insert", "before", "behind", "wide", "twice", "blank"])):
        case "cut":
            return data[:at]
        case "flip":
            return data[:at] + bytes([data[at] ^ draw(st.sampled_from([1, 2, 32, 128]))]) + data[at + 1 :]
        case "insert":
            odd = draw(pick([b"\xff", b"\0", b"\xc3", b"NaN", b'"', b",", b"}", b"\xed\xa0\x80", b"1e999"]))
            return data[:at] + odd + data[at:]
        case "before":
            return draw(pick([b"\xef\xbb\xbf", b"[", b"\0", b"version https://git-lfs.github.com/spec/v1\n"])) + data
        case "behind":
            return data + draw(pick([b" ", b"\0", b"{}", b"]", b"\xff"]))
        case "wide":
            return data.decode(errors="replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-7"])))
        case "twice":
            braces = [place for place, byte in enumerate(data) if byte == ord("{")]
            place = draw(pick(braces or [0])) + 1
            key = data[place:].split(b":", 1)[0].strip() or b'""'
            return data[:place] + key + b": 1, " + data[place:]
    return draw(pick([b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{" * 100_000, b'{"a":' * 50_000]))
