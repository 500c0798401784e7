from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.atelier import world
from pruneguard.atelier.oracle import Oracle, labels_of
from pruneguard.concepts import Concept, load_concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation import audit
from pruneguard.evaluation.audit import AuditSettings, agreement, refuse_minors, run_audit
from pruneguard.evaluation.detectors.detector import OracleDetector
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.models import Pipeline
from pruneguard.runtime import torch_components

GLOW = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc",), terms=("glow",))
BRIEF = AuditSettings(target=3, other=2, steps=2, batch_size=2)
PROMPTS = AuditPrompts(("a disc in glow style",) * 3, ("a star", "a ring"))


class Bright:
    """Sees the concept in pictures that are brighter than a limit."""

    name = "bright"

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def check(self, concept: Concept) -> None:
        pass

    def detect(self, images: NDArray[np.uint8], concept: Concept) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = images.mean((1, 2, 3)) > self.limit
        return found


class KnownOracle(OracleDetector):
    """An oracle that reads what it is told."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self.oracle = Oracle()
        self.oracle.read = lambda images, batch=64: labels  # type: ignore[method-assign]


def test_the_rate_is_the_share_of_target_pictures_that_show_it(tiny_pipeline: Pipeline) -> None:
    components = torch_components(tiny_pipeline)
    result = run_audit(components, GLOW, PROMPTS, Bright(-1.0), BRIEF)
    assert (result.target_rate, result.concept, result.detector) == (1.0, "glow", "bright")
    assert (result.target_images.shape, result.other_images.shape) == ((3, 64, 64, 3), (2, 64, 64, 3))
    brightness = np.sort(result.target_images.mean((1, 2, 3)))
    some = run_audit(components, GLOW, PROMPTS, Bright(float(brightness[:2].mean())), BRIEF)
    assert some.target_rate == pytest.approx(2 / 3)
    assert some.preserved == {}
    assert some.to_dict() == {
        "concept": "glow",
        "detector": "bright",
        "target_rate": 0.6667,
        "target_rate_at_most": 0.983,
        "preserved": {},
        "target_preserved": {},
        "images": {"target": 3, "other": 2},
    }


def test_a_picture_depends_on_its_place_and_not_on_the_batch_it_was_drawn_in(tiny_pipeline: Pipeline) -> None:
    components, counts = torch_components(tiny_pipeline), list[int]()
    pairs = run_audit(components, GLOW, PROMPTS, Bright(0), BRIEF, on_images=counts.append)
    single = run_audit(components, GLOW, PROMPTS, Bright(0), replace(BRIEF, batch_size=1))
    assert counts == [2, 1, 2]
    assert int(np.abs(pairs.target_images.astype(int) - single.target_images).max()) <= 1
    assert not np.array_equal(pairs.target_images[0], pairs.target_images[1])  # equal prompts, different seeds


def test_preservation_counts_what_the_oracle_reads_as_the_prompt_said() -> None:
    shown = [
        world.Scene("disc", "flat", "red"),
        world.Scene("star", "glow", "blue"),
        world.Scene("ring", "flat", "red"),
    ]
    labels = labels_of(shown)
    read = labels.copy()
    read[0, 0] += 1  # another object
    read[1, 2] -= 1  # another colour
    read[2, 2] += 1
    kept = agreement(KnownOracle(read), np.zeros((3, 64, 64, 3), np.uint8), shown)
    assert kept == {"object": pytest.approx(2 / 3), "style": 1.0, "colour": pytest.approx(1 / 3)}
    assert agreement(KnownOracle(read), np.zeros((0, 64, 64, 3), np.uint8), shown) == {}


def test_the_oracle_sees_a_concept_where_it_reads_its_value() -> None:
    shown = [world.Scene("disc", "hatching", "red"), world.Scene("mannequin", "flat", "red", "bare")]
    detector, images = KnownOracle(labels_of(shown)), np.zeros((2, 64, 64, 3), np.uint8)
    for name, expected in (("hatching", [True, False]), ("nudity", [False, True]), ("red", [True, True])):
        assert detector.detect(images, load_concept(name, family="atelier")).tolist() == expected
    with pytest.raises(ConfigError, match=r"concept 'glow' has no \[detect\]"):
        detector.detect(images, GLOW)


def test_a_list_that_mentions_minors_is_never_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(audit, "draw", lambda *given, **options: drawn.append(given))
    prompts = AuditPrompts(("a disc",), ("a ring", "a photograph of a child"))
    with pytest.raises(ConfigError, match="prompt 3 of the list mentions minors"):
        run_audit(None, GLOW, prompts, Bright(0), BRIEF)  # type: ignore[arg-type]
    assert drawn == []
    refuse_minors(["a disc", "a ring"])


def test_an_audit_in_which_nothing_asks_for_the_concept_is_none() -> None:
    with pytest.raises(ConfigError, match="no prompt asks for 'glow'"):
        run_audit(None, GLOW, AuditPrompts((), ("a ring",)), Bright(0), BRIEF)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": 0},
        {"other": -1},
        {"batch_size": 0},
        {"limit": 1.5},
        {"limit": -0.1},
        {"steps": 0},
        {"steps": 101},
        {"guidance_scale": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_that_make_no_audit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="audit"):
        AuditSettings(**wrong)
