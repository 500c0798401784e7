from __future__ import annotations

import math

import pytest

from pruneguard.errors import TrainingError
from pruneguard.training.watch import LossWatch


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_not_finite(loss: float) -> None:
    with pytest.raises(TrainingError, match=r"the upper level's loss is -?(nan|inf): lower its learning rate; see x"):
        LossWatch(1e3).check("upper", loss, "see x")


def test_explosion_is_told_against_the_median_of_its_own_level() -> None:
    watch = LossWatch(100.0)
    for _ in range(10):
        watch.check("lower", 2.0, "")
    watch.check("upper", 1e6, "")  # another level, and too early to tell
    watch.check("lower", 199.0, "")
    with pytest.raises(TrainingError, match="exploded to 201, beyond 100 times its median 2"):
        watch.check("lower", 201.0, "")
    assert 201.0 not in watch.history["lower"]


def test_history_is_bounded_and_restored() -> None:
    watch = LossWatch(10.0)
    watch.restore({"lower": [1.0] * 10})
    with pytest.raises(TrainingError, match="exploded"):
        watch.check("lower", 11.0, "")
    for _ in range(300):
        watch.check("lower", 1.0, "")
    assert len(watch.history["lower"]) == 101
