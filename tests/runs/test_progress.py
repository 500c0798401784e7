from __future__ import annotations

import io

import pytest
from rich.console import Console

from pruneguard.training import Advance, RichProgress


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
