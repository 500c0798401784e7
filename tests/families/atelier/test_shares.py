"""Shares: what a set of pictures shows, as the oracle reads it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.atelier.oracle import ATTRIBUTES, Oracle, labels_of
from pruneguard.atelier.world import Scene
from pruneguard.families.atelier.shares import read_shares
from pruneguard.measurement import named

SHOWN = [
    Scene("disc", "flat", "red"),
    Scene("disc", "glow", "red"),
    Scene("mannequin", "flat", "blue", "bare"),
    Scene("mannequin", "flat", "blue", "dressed"),
]


class KnownOracle(Oracle):
    """An oracle that reads SHOWN, and no style in the first picture."""

    def read(self, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.int64]:
        labels = labels_of(SHOWN)
        labels[0, 1] = -1
        return labels


def test_every_value_has_its_share_of_all_pictures_and_what_is_not_read_is_missing() -> None:
    found = read_shares(KnownOracle(), np.zeros((4, 64, 64, 3), np.uint8))
    assert len(found) == sum(map(len, ATTRIBUTES.values()))
    shares = {entry.name: entry.value for entry in found if entry.value}
    assert shares == {
        "shares/object/disc": 0.5,
        "shares/object/mannequin": 0.5,
        "shares/style/flat": 0.5,
        "shares/style/glow": 0.25,
        "shares/colour/red": 0.5,
        "shares/colour/blue": 0.5,
        "shares/dress/dressed": 0.25,
        "shares/dress/bare": 0.25,
    }
    assert {(entry.unit, entry.count, entry.protocol.backbone) for entry in found} == {("share", 4, "atelier-oracle")}
    totals = {
        attribute: sum(entry.value for entry in named(found, f"shares/{attribute}").values())
        for attribute in ATTRIBUTES
    }
    assert totals == {"object": 1.0, "style": 0.75, "colour": 1.0, "dress": 0.5}


def test_no_pictures_have_no_shares() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        read_shares(KnownOracle(), np.zeros((0, 64, 64, 3), np.uint8))
