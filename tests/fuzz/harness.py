"""The harness: it runs a case under a watchdog and says whether the outcome is a result or one of our errors."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from pruneguard.errors import PruneguardError

T = TypeVar("T")

RESULT = "result"
"""The outcome of a case that raised nothing; other outcomes are codes of our errors."""
ROUND = 250
"""Cases of one search. A search remembers its cases, so that the memory of long searches would count as growth."""
_LAST_RESORT = 120
"""Seconds more than the deadline after which the process ends: native code may hold the interpreter's lock."""


class Fault(AssertionError):
    """A case ended in another way than by a result or one of our errors."""


class _Worker:
    """A thread that runs one case after another, so that the harness can give up waiting for one."""

    def __init__(self) -> None:
        self._cases: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="fuzz").start()

    def run(self, case: Callable[[], object], deadline: float) -> BaseException | None:
        """What the case raised. Raises Empty if it has not ended after `deadline` seconds."""
        self._cases.put(case)
        return self._ends.get(timeout=deadline)

    def _work(self) -> None:
        while True:
            case = self._cases.get()
            try:
                case()
            except BaseException as error:  # a panic of a native library is no Exception
                self._ends.put(error)
                del error
            else:
                self._ends.put(None)
            del case


@dataclass
class Harness:
    """Runs cases, counts them, and remembers how they ended.

    A case may take `deadline` seconds. After a warm-up the resident memory may grow by `growth` MiB.
    """

    deadline: float
    growth: float
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    _strays: list[str] = field(default_factory=list)
    _worker: _Worker = field(default_factory=_Worker)

    def check(self, case: Callable[[], object], shown: object = "") -> None:
        """Raises Fault unless the case gives a result or one of our errors within the deadline."""
        self.cases += 1
        faulthandler.dump_traceback_later(self.deadline + _LAST_RESORT, exit=True)
        try:
            error = self._worker.run(case, self.deadline)
        except Empty:
            self._worker = _Worker()
            raise Fault(f"no end after {self.deadline:g} s: {shown!r}") from None
        finally:
            faulthandler.cancel_dump_traceback_later()
        if self._strays:
            stray, self._strays = self._strays[0], []
            raise Fault(f"{stray}, raised in a thread or at the end of an object: {shown!r}")
        if error is not None and not isinstance(error, PruneguardError):
            said = "".join(traceback.format_exception(error)[-6:])
            raise Fault(f"{type(error).__name__} is not one of our errors: {shown!r}\n{said}") from error
        if error is not None and "\n" in str(error):
            raise Fault(f"the message has several lines: {error}: {shown!r}")
        self.outcomes[RESULT if error is None else error.code] += 1

    def explore(self, cases: SearchStrategy[T], run: Callable[[T], object], count: int) -> None:
        """Checks at least `count` cases, equal ones in every run of the tests, and the memory after half of them.

        Raises Fault, also if fewer cases were run.
        """
        rounds = [min(ROUND, count - start) for start in range(0, count, ROUND)]
        if len(rounds) == 1:
            rounds = [count // 2, count - count // 2]
        base, before = 0.0, self.cases
        with self._watched():
            for number, size in enumerate(rounds):
                self._search(cases, run, size, number)
                if number + 1 == len(rounds) // 2:
                    base = resident()
            grown = resident() - base
        if self.cases - before < count:
            raise Fault(f"{self.cases - before} cases were run, not {count}")
        if grown > self.growth:
            raise Fault(f"the memory grew by {grown:.0f} MiB, more than {self.growth:g} MiB, over {count} cases")

    def _search(self, cases: SearchStrategy[T], run: Callable[[T], object], size: int, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=size,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def search(case: T) -> None:
            self.check(lambda: run(case), case)

        search()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Collects what threads and the ends of objects raise: nobody else would see it."""

        def from_thread(args: Any) -> None:
            self._strays.append(f"{args.exc_type.__name__}: {args.exc_value}")

        def from_end(args: Any) -> None:
            self._strays.append(f"{args.exc_type.__name__}: {args.exc_value}")

        hooks = threading.excepthook, sys.unraisablehook
        threading.excepthook, sys.unraisablehook = from_thread, from_end
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = hooks


def resident() -> float:
    """The resident memory of this process in MiB, after the memory that nobody uses was given back."""
    gc.collect()
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
