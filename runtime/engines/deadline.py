"""A deadline for calls that cannot look at the clock themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from pruneguard.errors import ConfigError

DEADLINE_S = 120.0
"""Seconds that one call of an engine may take by default. A UNet call takes from milliseconds to some ten seconds."""
LONGEST_S = 86400.0


def check_deadline(value: Any) -> float:
    """A number of seconds, above 0 and at most a day. Raises ConfigError."""
    if type(value) not in (int, float) or not 0 < value <= LONGEST_S:
        raise ConfigError(f"deadline_s must be a number of seconds above 0 and at most {LONGEST_S:g}, not {value!r}")
    return float(value)


class Deadline:
    """Calls a function as soon as a call lasts longer than `seconds`.

    One thread watches all calls. It starts with the first call, sleeps until the earliest call is due, and ends when it
    wakes up and no call is running. So a call costs two entries in a table and, at most once in `seconds`, the start of
    a thread. Threads may share a deadline.
    """

    def __init__(self, seconds: float) -> None:
        """Raises ConfigError for a number that is no deadline."""
        self.seconds = check_deadline(seconds)
        self._running: dict[int, tuple[float, Callable[[], None]]] = {}
        self._tickets = count()
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def during(self, stop: Callable[[], None]) -> Iterator[None]:
        """Calls `stop` from another thread if the block lasts longer than the deadline; the block itself goes on."""
        with self._lock:
            ticket = next(self._tickets)
            self._running[ticket] = (time.monotonic() + self.seconds, stop)
            if self._watcher is None or not self._watcher.is_alive():  # a fork leaves the thread behind
                self._watcher = threading.Thread(target=self._watch, name="engine deadline", daemon=True)
                self._watcher.start()
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(ticket, None)

    def _watch(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                for ticket in [ticket for ticket, (due, _) in self._running.items() if due <= now]:
                    self._running.pop(ticket)[1]()
                if not self._running:
                    self._watcher = None
                    return
                earliest = min(due for due, _ in self._running.values())
            time.sleep(max(0.0, earliest - now))
