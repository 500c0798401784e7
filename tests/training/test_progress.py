from __future__ import annotations

import io

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
