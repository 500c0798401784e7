"""The harness itself: what it must not overlook."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import strategies as st

from pruneguard.errors import RequestError
from tests.fuzz.harness import RESULT, Fault, Harness

GROWTH = 16
"""MiB."""


class Panic(BaseException):
    """What a native library raises in place of an Exception."""


def fails(error: BaseException) -> None:
    raise error


def test_results_and_our_errors_are_counted_by_their_code() -> None:
    harness = Harness(5, GROWTH)
    harness.check(lambda: 3)
    harness.check(lambda: fails(RequestError("steps must be at least 1")))
    assert (harness.cases, dict(harness.outcomes)) == (2, {RESULT: 1, "invalid_request": 1})


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), RuntimeWarning("x"), Panic("x"), SystemExit(1)])
def test_another_error_is_a_fault(error: BaseException) -> None:
    with pytest.raises(Fault, match=f"{type(error).__name__} is not one of our errors: 'a case'"):
        Harness(5, GROWTH).check(lambda: fails(error), "a case")


def test_a_message_of_several_lines_is_a_fault() -> None:
    with pytest.raises(Fault, match="several lines"):
        Harness(5, GROWTH).check(lambda: fails(RequestError("one\ntwo")))


def test_a_case_that_does_not_end_is_a_fault_and_the_next_one_is_run() -> None:
    harness = Harness(0.2, GROWTH)
    with pytest.raises(Fault, match=r"no end after 0\.2 s: 'a case'"):
        harness.check(lambda: time.sleep(2), "a case")
    harness.check(lambda: 3)
    assert harness.outcomes == {RESULT: 1}


def test_what_a_thread_of_a_case_raises_is_a_fault() -> None:
    def case(number: int) -> None:
        thread = threading.Thread(target=fails, args=(ValueError("lost"),))
        thread.start()
        thread.join()

    with pytest.raises(Fault, match="ValueError: lost, raised in a thread"):
        Harness(5, GROWTH).explore(st.integers(), case, 10)


def test_memory_that_grows_is_a_fault() -> None:
    kept: list[bytes] = []
    with pytest.raises(Fault, match=r"the memory grew by [0-9]+ MiB, more than 16 MiB, over 100 cases"):
        Harness(5, GROWTH).explore(st.integers(), lambda number: kept.append(b"x" * 2**20), 100)


def test_fewer_cases_than_asked_for_are_a_fault() -> None:
    with pytest.raises(Fault, match="2 cases were run, not 100"):
        Harness(5, GROWTH).explore(st.just(0), lambda number: None, 100)


def test_cases_are_equal_in_every_run() -> None:
    found: list[list[int]] = [[], []]
    for numbers in found:
        Harness(5, GROWTH).explore(st.integers(), numbers.append, 50)
    assert found[0] == found[1]
    assert len(set(found[0])) > 40
