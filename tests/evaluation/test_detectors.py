from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruneguard import atelier
from pruneguard.atelier import world
from pruneguard.concepts import load_concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import build_detector, share

TRAINED = pytest.mark.skipif(
    not (atelier.folder() / "oracle.safetensors").is_file(), reason="atelier's weights are not in this checkout"
)


@pytest.mark.parametrize("spec", ["oracel", "oracle:here", "clip", "clip:", ""])
def test_an_unknown_detector_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="use `oracle` \\(atelier\\) or `clip:FOLDER_OR_HUB_ID`"):
        build_detector(spec)


def test_a_clip_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_detector(f"clip:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_share_counts_what_is_true() -> None:
    assert share([True, False, False, True]) == 0.5
    assert share(np.zeros(0, bool)) == 0.0


@TRAINED
@pytest.mark.parametrize("detect", [{}, {"attribute": "size", "value": "red"}, {"attribute": "style", "value": "red"}])
def test_the_oracle_says_which_concepts_it_cannot_tell(detect: dict[str, str]) -> None:
    oracle = build_detector("oracle")
    concept = replace(load_concept("red", family="atelier"), detect=detect)
    for asked in (oracle.check, lambda concept: oracle.detect(np.zeros((1, 64, 64, 3), np.uint8), concept)):
        with pytest.raises(ConfigError, match=r"concept 'red' has no \[detect\] attribute and value .*object, style"):
            asked(concept)
    oracle.check(load_concept("red", family="atelier"))


@TRAINED
@pytest.mark.parametrize(("name", "attribute", "value"), [("hatching", "style", "hatching"), ("red", "colour", "red")])
def test_the_oracle_tells_renderings_that_show_a_concept(name: str, attribute: str, value: str) -> None:
    rng = np.random.default_rng(5)
    scenes = [world.sample_scene(rng) for _ in range(256)]
    images = np.stack([world.render(scene, rng) for scene in scenes])
    seen = build_detector("oracle").detect(images, load_concept(name, family="atelier"))
    truth = np.array([getattr(scene, attribute) == value for scene in scenes])
    assert share(seen == truth) >= 0.99
