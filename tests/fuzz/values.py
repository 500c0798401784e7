"""Odd values: what a caller without types, a form or a damaged file may give in place of a number or a text."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

T = TypeVar("T")

HUGE = 10**400
"""Larger than every float."""
UNPRINTABLE = 10**5000
"""Larger than the longest whole number that Python writes out."""


class Hostile:
    """An object that raises whatever is asked of it."""

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("hostile")

    __len__ = __iter__ = __getitem__ = __index__ = __float__ = __bool__ = __contains__ = _refuse
    __eq__ = __hash__ = __lt__ = __le__ = _refuse

    def __repr__(self) -> str:
        raise RuntimeError("hostile")


class Shouting(str):
    """A text whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("hostile")


def breaking(after: int) -> Iterator[str]:
    """A generator that gives some prompts and then raises."""
    for _ in range(after):
        yield "a cat"
    raise RuntimeError("hostile")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list, deeper than repr goes."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def shown(value: object) -> str:
    """What a report says of a value, whatever it is."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def pick(values: Sequence[T]) -> st.SearchStrategy[T]:
    """One of some values. Unlike `sampled_from`, it needs neither their repr nor their hash, which some here lack."""
    return st.integers(0, len(values) - 1).map(lambda index: values[index])


wholes = st.one_of(
    pick([0, 1, -1, 2, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), HUGE, -HUGE, UNPRINTABLE]),
    st.integers(),
)
reals = st.one_of(
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, -0.0, 0.5, 1.0, 30.000001]), st.floats()
)
texts = st.one_of(
    st.sampled_from(
        ["", " ", "\t\n", "\0", "a\0b", "\ud800", "a cat \udfff", "\x1b[2J", "\u202ea", "\ufeff", "é" * 500, "🦓" * 40]
    ),
    st.sampled_from([1999, 2000, 2001, 10**6]).map("a".__mul__),
    st.sampled_from(["512x512", "64", "7.5", "auto", "-1", "1e3", "0x10", "١٢", "nan", "true", "[1]", "null"]),
    st.text(st.characters(codec=None), max_size=30),
)
arrays = pick(
    [
        np.array(3),
        np.array(7.5),
        np.array(np.nan),
        np.array([]),
        np.array([1]),
        np.array([7.5]),
        np.array([1, 2]),
        np.array([7.5, np.inf]),
        np.array([[1.0]]),
        np.array([[1, 2], [3, 4]]),
        np.array(["a cat"]),
        np.array(["a", "b"]),
        np.array([None, "a"], dtype=object),
        np.array([True]),
        np.zeros((0, 3)),
        np.zeros(100_000),
    ]
)
scalars = pick(
    [
        np.int8(-1),
        np.int64(3),
        np.uint64(2**64 - 1),
        np.float16("inf"),
        np.float32("nan"),
        np.float64(7.5),
        np.bool_(True),
        np.str_("a cat"),
        np.bytes_(b"a"),
        np.complex64(1),
        np.datetime64("NaT"),
        np.timedelta64(1, "s"),
        Decimal("7.5"),
        Decimal("sNaN"),
        Decimal("1e999"),
        Fraction(15, 2),
        1 + 2j,
    ]
)
bytestrings = pick([b"", b"a cat", b"7", bytearray(b"7.5"), memoryview(b"abc"), b"\xff\xfe"])
singles = st.one_of(st.none(), st.booleans(), wholes, reals, texts, scalars, bytestrings)
generators = st.one_of(
    st.builds(lambda: itertools.repeat("a cat")),
    st.builds(lambda: itertools.count()),
    st.integers(0, 3).map(breaking),
    st.builds(lambda: (text for text in ("a cat", "a house"))),
    st.builds(lambda: iter(())),
    st.builds(lambda: map(str, range(3))),
)
containers = st.one_of(
    st.lists(singles, max_size=4),
    st.lists(singles, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=3), singles, max_size=3),
    st.lists(st.lists(singles, max_size=2), max_size=2),
    pick([set(), {1, 2}, frozenset({"a"}), deque(["a"]), range(3), range(2**40), range(2**100)]),
    st.sampled_from([50, 5_000]).map(nested),
)
objects = st.one_of(
    st.builds(Hostile),
    st.builds(lambda: Shouting("a cat")),
    st.builds(object),
    pick([..., NotImplemented, int, str, len, print, np, Exception("x")]),
)
odd: st.SearchStrategy[Any] = st.one_of(singles, arrays, containers, generators, objects)
