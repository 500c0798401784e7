"""Atelier's oracle as a detector, and as the metric of what pictures keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard import atelier
from pruneguard.atelier import world
from pruneguard.atelier.oracle import Oracle, labels_of
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import build_detector
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families import FAMILIES
from pruneguard.families.atelier.concepts import atelier_concept
from pruneguard.families.atelier.detector import OracleDetector
from pruneguard.families.atelier.metric import Kept, agreement

TRAINED = pytest.mark.skipif(
    not (atelier.folder() / "oracle.safetensors").is_file(), reason="atelier's weights are not in this checkout"
)
GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc",), terms=("glow",))
SHOWN = [world.Scene("disc", "flat", "red"), world.Scene("star", "glow", "blue"), world.Scene("ring", "flat", "red")]


def blank(count: int) -> NDArray[np.uint8]:
    return np.zeros((count, 64, 64, 3), np.uint8)


class KnownOracle(Oracle):
    """An oracle that reads, call by call, what it is told."""

    def __init__(self, *labels: NDArray[np.int64]) -> None:
        super().__init__()
        self.labels = list(labels)

    def read(self, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.int64]:
        return self.labels.pop(0)


def altered(scenes: Sequence[world.Scene]) -> NDArray[np.int64]:
    """The scenes' labels with one other object and two other colours."""
    read = labels_of(scenes).copy()
    read[0, 0] += 1
    read[1, 2] -= 1
    read[2, 2] += 1
    return read


def test_agreement_counts_what_the_oracle_reads_as_the_prompt_said() -> None:
    kept = agreement(KnownOracle(altered(SHOWN)), blank(3), SHOWN)
    assert kept == {"object": pytest.approx(2 / 3), "style": 1.0, "colour": pytest.approx(1 / 3)}
    assert agreement(KnownOracle(), blank(0), SHOWN) == {}
    assert agreement(KnownOracle(), blank(3), ()) == {}


def test_the_metric_measures_the_rest_of_the_concepts_prompts_without_the_concept() -> None:
    hatched = [replace(scene, style="hatching") for scene in SHOWN]
    prompts = AuditPrompts(("a",) * 3, ("b",) * 3, tuple(hatched), tuple(SHOWN))
    metric = Kept(oracle=KnownOracle(labels_of(SHOWN), altered(hatched)))
    found = metric(AuditPictures(atelier_concept("hatching"), prompts, blank(3), blank(3)))
    assert {entry.name: round(entry.value, 3) for entry in found} == {
        "kept/object": 1.0,
        "kept/style": 1.0,
        "kept/colour": 1.0,
        "rest/object": 0.667,
        "rest/colour": 0.333,
    }
    assert {(entry.unit, entry.count, entry.protocol.backbone) for entry in found} == {("share", 3, "atelier-oracle")}


def test_the_metric_says_nothing_of_prompts_whose_scenes_are_not_known() -> None:
    assert Kept(oracle=KnownOracle())(AuditPictures(GLOW, AuditPrompts(("a",), ()), blank(1), blank(0))) == []


def test_the_oracle_sees_a_concept_where_it_reads_its_value() -> None:
    shown = [world.Scene("disc", "hatching", "red"), world.Scene("mannequin", "flat", "red", "bare")]
    detector = OracleDetector()
    for name, expected in (("hatching", [True, False]), ("nudity", [False, True]), ("red", [True, True])):
        detector.oracle = KnownOracle(labels_of(shown))
        assert detector.detect(blank(2), atelier_concept(name)).tolist() == expected


def test_detector_and_metric_are_found_by_name() -> None:
    FAMILIES.names()  # families bring their detectors and metrics
    assert build_detector("oracle").name == "atelier-oracle"
    assert "kept" in METRICS.names()


@TRAINED
@pytest.mark.parametrize("detect", [{}, {"attribute": "size", "value": "red"}, {"attribute": "style", "value": "red"}])
def test_the_oracle_says_which_concepts_it_cannot_tell(detect: dict[str, str]) -> None:
    oracle = OracleDetector()
    concept = replace(atelier_concept("red"), detect=detect)
    for asked in (oracle.check, lambda concept: oracle.detect(blank(1), concept)):
        with pytest.raises(ConfigError, match=r"concept 'red' has no \[detect\] attribute and value .*object, style"):
            asked(concept)
    oracle.check(atelier_concept("red"))


@TRAINED
@pytest.mark.parametrize(("name", "attribute", "value"), [("hatching", "style", "hatching"), ("red", "colour", "red")])
def test_the_oracle_tells_renderings_that_show_a_concept(name: str, attribute: str, value: str) -> None:
    rng = np.random.default_rng(5)
    scenes = [world.sample_scene(rng) for _ in range(256)]
    images = np.stack([world.render(scene, rng) for scene in scenes])
    seen = OracleDetector().detect(images, atelier_concept(name))
    truth = np.array([getattr(scene, attribute) == value for scene in scenes])
    assert (seen == truth).mean() >= 0.99
