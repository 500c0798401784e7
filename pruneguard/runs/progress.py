"""Progress of long work: a record handed to a callback, and a view of it with rich."""

from __future__ import annotations

import math
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


OnProgress = Callable[[Advance], None]


def silent(advance: Advance) -> None:
    """The callback that shows nothing."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "", style="progress.data.speed")


_EVERY_S = 10.0  # between two lines of one phase where there is no terminal


class RichProgress:
    """A callback that draws one bar a phase: `with RichProgress() as show: train(..., on_progress=show)`.

    Where the console is no terminal, as in a log, it prints a line when a phase begins and ends, and now and then
    between.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, tuple[float, int]] = {}
        self._console = console or Console()
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, advance: Advance) -> None:
        losses = (
            f"{name.removesuffix('/loss')} {value:.4f}"
            for name, value in advance.measured.items()
            if name.endswith("/loss")
        )
        note = "  ".join(losses)
        if not self._console.is_terminal:
            self._print(advance, note)
            return
        if advance.phase not in self._tasks:
            self._tasks[advance.phase] = self._bars.add_task(advance.phase, total=advance.total, note="")
        self._bars.update(self._tasks[advance.phase], completed=advance.done, total=advance.total, note=note)

    def _print(self, advance: Advance, note: str) -> None:
        now, (before, done) = time.monotonic(), self._printed.get(advance.phase, (-math.inf, -1))
        if advance.done != done and (advance.done >= advance.total or now - before >= _EVERY_S):
            self._printed[advance.phase] = now, advance.done
            self._console.out(f"{advance.phase}: {advance.done} of {advance.total}  {note}".rstrip(), highlight=False)
            self._console.file.flush()
