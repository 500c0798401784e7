from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from pruneguard.runs.progress import Advance, RichProgress, _clock


def test_bars_show_phase_count_and_losses() -> None:
    output = io.StringIO()
    with RichProgress(Console(file=output, force_terminal=True, width=160, color_system=None)) as show:
        show(Advance("draw glow", 4, 4))
        show(Advance("train", 1, 3, {"lower/loss": 0.5}))
        show(Advance("train", 2, 3, {"lower/loss": 0.25, "upper/loss": 0.125, "lower/lr": 1e-3}))
    shown = next(line for line in reversed(output.getvalue().splitlines()) if "train" in line)
    assert "2/3" in shown
    assert "lower 0.2500  upper 0.1250" in shown
    assert "lr" not in shown
    assert "4/4" in output.getvalue()


def test_a_log_gets_lines_at_a_phases_begin_and_end_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    output, now = io.StringIO(), 100.0
    monkeypatch.setattr("pruneguard.runs.progress.time.monotonic", lambda: now)
    with RichProgress(Console(file=output, force_terminal=False)) as show:
        for done in range(51):
            show(Advance("train", done, 50, {"lower/loss": 0.5}))
            now += 0.25
        show(Advance("train", 50, 50))
        show(Advance("audit", 0, 8))
    assert output.getvalue().splitlines() == [
        "train: 0 of 50  lower 0.5000",
        "train: 40 of 50  lower 0.5000",
        "train: 50 of 50  lower 0.5000",
        "audit: 0 of 8",
    ]


def test_a_log_tells_what_a_phase_is_doing() -> None:
    output = io.StringIO()
    with RichProgress(Console(file=output, force_terminal=False)) as show:
        show(Advance("export", 2, 5, detail="comparing the UNet"))
    assert output.getvalue() == "export: 2 of 5  comparing the UNet\n"
    output = io.StringIO()
    with RichProgress(Console(file=output, force_terminal=True, width=160, color_system=None)) as show:
        show(Advance("export", 2, 5, {"lower/loss": 0.5}, detail="comparing the UNet"))
    assert "comparing the UNet  lower 0.5000" in output.getvalue()


def test_a_log_is_never_silent_for_long() -> None:
    output = io.StringIO()
    with RichProgress(Console(file=output, force_terminal=False), heartbeat_s=0.05) as show:
        until_lines(output, 1)
        show(Advance("export", 2, 5, detail="comparing the UNet"))
        until_lines(output, 4)
    after = output.getvalue()
    working, *rest = after.splitlines()
    assert working == "working  (0:00 so far)"
    assert "export: 2 of 5  comparing the UNet" in rest
    assert rest[-1] == "export: 2 of 5  comparing the UNet  (0:00 so far)"
    time.sleep(0.15)
    assert output.getvalue() == after  # the thread ends with the block


def test_a_log_that_speaks_needs_no_heartbeat() -> None:
    output = io.StringIO()
    with RichProgress(Console(file=output, force_terminal=False), heartbeat_s=5.0) as show:
        for done in range(4):
            show(Advance("audit", done, 3))
    assert output.getvalue().splitlines() == ["audit: 0 of 3", "audit: 3 of 3"]


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00"), (65, "1:05"), (3599, "59:59"), (7325, "2:02:05")])
def test_time_is_shown_in_minutes_and_seconds(seconds: float, shown: str) -> None:
    assert _clock(seconds) == shown


def until_lines(output: io.StringIO, count: int) -> None:
    """Waits until so many lines are there; the test's own limit catches a thread that never writes them."""
    for _ in range(2000):
        if output.getvalue().count("\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"fewer than {count} lines: {output.getvalue()!r}")
