"""Progress of long work: a record handed to a callback, and a view of it with rich."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


@dataclass(frozen=True)
class Advance:
    """`done` of `total` in a phase, such as "train"; `measured` has losses and rates by name, such as `lower/loss`."""

    phase: str
    done: int
    total: int
    measured: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""
    """What the phase is doing now, such as "comparing the UNet"."""


OnProgress = Callable[[Advance], None]


def silent(advance: Advance) -> None:
    """The callback that shows nothing."""


def counting(on_progress: OnProgress, phase: str, total: int) -> Callable[[int], None]:
    """Tells that a phase begins, and returns what is to be told how many more of its `total` are done."""
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        on_progress(Advance(phase, done, total))

    more(0)
    return more


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "", style="progress.data.speed")


_EVERY_S = 10.0
"""Between two lines of one phase in a log."""
_HEARTBEAT_S = 30.0
"""The longest silence in a log."""


class RichProgress:
    """A callback that draws one bar a phase: `with RichProgress() as show: train(..., on_progress=show)`.

    A console that is no terminal, such as a log, gets lines: when a phase begins and ends, now and then between, and a
    line with the time that has passed after `heartbeat_s` seconds in which nothing advanced.
    """

    def __init__(self, console: Console | None = None, *, heartbeat_s: float = _HEARTBEAT_S) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._console = console or Console()
        self._log = None if self._console.is_terminal else _Log(self._console, heartbeat_s)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> RichProgress:
        self._bars.start()
        if self._log:
            self._log.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        if self._log:
            self._log.stop()

    def __call__(self, advance: Advance) -> None:
        if self._log:
            self._log.note(advance)
            return
        if advance.phase not in self._tasks:
            self._tasks[advance.phase] = self._bars.add_task(advance.phase, total=advance.total, note="")
        task = self._tasks[advance.phase]
        self._bars.update(task, completed=advance.done, total=advance.total, note=_note(advance))


def _note(advance: Advance) -> str:
    losses = (
        f"{name.removesuffix('/loss')} {value:.4f}"
        for name, value in advance.measured.items()
        if name.endswith("/loss")
    )
    return "  ".join([*filter(None, [advance.detail]), *losses])


class _Log:
    """Lines for a log, and a thread that prints one whenever there was none for too long."""

    def __init__(self, console: Console, heartbeat_s: float) -> None:
        self._console = console
        self._heartbeat_s = heartbeat_s
        self._printed: dict[str, tuple[float, int]] = {}
        self._begun: dict[str, float] = {}
        self._last: Advance | None = None
        self._started = self._spoke = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress heartbeat", daemon=True)

    def start(self) -> None:
        self._started = self._spoke = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def note(self, advance: Advance) -> None:
        with self._lock:
            self._last = advance
            now, (before, done) = time.monotonic(), self._printed.get(advance.phase, (-math.inf, -1))
            self._begun.setdefault(advance.phase, now)
            if advance.done != done and (advance.done >= advance.total or now - before >= _EVERY_S):
                self._printed[advance.phase] = now, advance.done
                self._say(_line(advance))

    def _beat(self) -> None:
        wait = self._heartbeat_s
        while not self._stopped.wait(wait):
            with self._lock:
                wait = self._spoke + self._heartbeat_s - time.monotonic()
                if wait <= 0:
                    began = self._begun[self._last.phase] if self._last else self._started
                    text = _line(self._last) if self._last else "working"
                    self._say(f"{text}  ({_clock(time.monotonic() - began)} so far)")
                    wait = self._heartbeat_s

    def _say(self, line: str) -> None:
        self._spoke = time.monotonic()
        self._console.out(line, highlight=False)
        self._console.file.flush()


def _line(advance: Advance) -> str:
    return f"{advance.phase}: {advance.done} of {advance.total}  {_note(advance)}".rstrip()


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours in front if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
