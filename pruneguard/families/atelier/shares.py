"""What a set of pictures shows: the share of every object, style, colour and dress that atelier's oracle reads."""

from __future__ import annotations

import numpy as np

from pruneguard.atelier.oracle import ATTRIBUTES, Oracle
from pruneguard.evaluation.detectors.detector import Images
from pruneguard.families.atelier.metric import BACKBONE
from pruneguard.measurement import Measurement, Protocol


def read_shares(oracle: Oracle, images: Images) -> list[Measurement]:
    """`shares/<attribute>/<value>` for every value of every attribute, of images (N, 64, 64, 3), N > 0.

    A share counts all N pictures. The shares of an attribute add up to 1 less the share of the pictures in which the
    oracle reads none of its values, such as the dress of a disc. Raises ValueError for no pictures.
    """
    if not len(images):
        raise ValueError("no pictures: a share of none is no number")
    labels, protocol = oracle.read(images), Protocol(backbone=BACKBONE)
    return [
        Measurement(
            name=f"shares/{attribute}/{value}",
            value=float(np.mean(labels[:, column] == index)),
            unit="share",
            count=len(images),
            protocol=protocol,
        )
        for column, (attribute, values) in enumerate(ATTRIBUTES.items())
        for index, value in enumerate(values)
    ]
