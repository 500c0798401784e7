"""Ctrl-C and SIGTERM: a run stops between two steps, and any other work unwinds and removes what it had begun.

This module imports nothing heavy, so a command line can use it before it loads anything.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would raise KeyboardInterrupt; whoever handles that handles both."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the block, so that staging folders are removed as after Ctrl-C.

    For a program's outermost block. Outside the main thread, where Python delivers no signals, it changes nothing.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handled((signal.SIGTERM,), on_signal):
        yield


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether Ctrl-C or SIGTERM has come; the second one interrupts at once.

    Outside the main thread, Python delivers no signals, and the function returns False.
    """
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        asked.set()

    with _handled(_SIGNALS, on_signal):
        yield asked.is_set


@contextmanager
def _handled(signals: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in signals]
    try:
        yield
    finally:
        for number, earlier in before:
            # None: the earlier handler was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
