"""Detectors by name, and CLIP on tiny models: with random weights, and with answers that are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pruneguard import atelier
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, InvalidAuditError
from pruneguard.evaluation.calibration import Calibration, calibrate
from pruneguard.evaluation.detectors.calibrated import CalibratedDetector, calibration_of
from pruneguard.evaluation.detectors.clip import BATCH, ClipScorer, ClipSettings, log_odds
from pruneguard.evaluation.detectors.detector import Scorer, build_detector
from pruneguard.families import FAMILIES

SIZE = 32
LAMP = Concept(
    name="lamp",
    prompts=("a lamp that is lit",),
    anchors=("a dark room",),
    neighbours=("a cellar",),
    audit_prompts=("a bright window",),
    terms=("lamp",),
)


def picture(level: int) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), level, np.uint8)


def solved(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The projection that maps each row of `features` to the row of `targets`."""
    solution: torch.Tensor = torch.linalg.lstsq(features.double(), targets.double()).solution
    return solution.T.float()


def build_clip() -> tuple[CLIPModel, CLIPTokenizer, Any]:
    """A CLIP model of one layer a tower with random weights and two dimensions, its tokenizer and its processor."""
    tokenizer = CLIPTokenizer.from_pretrained(atelier.folder() / "tokenizer")
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": int(tokenizer.model_max_length),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    vision = {"image_size": SIZE, "patch_size": SIZE // 2}
    config = CLIPConfig(text_config={**tower, **words}, vision_config={**tower, **vision}, projection_dim=2)
    name = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    crop = {"height": SIZE, "width": SIZE}
    return (
        CLIPModel(config).eval(),
        tokenizer,
        getattr(transformers, name)(size={"shortest_edge": SIZE}, crop_size=crop),
    )


def save_clip(folder: Path, lit: Sequence[str], unlit: Sequence[str]) -> None:
    """A CLIP model with random towers whose projections put white pictures at the `lit` texts and black ones at others.

    Embeddings have two dimensions: `lit` texts and white pictures are (1, 0), `unlit` ones and black pictures (0, 1).
    """
    model, tokenizer, processor = build_clip()
    axes = torch.eye(2)
    with torch.no_grad():
        tokens = tokenizer([*lit, *unlit], return_tensors="pt", padding=True)
        text: Any = model.text_model(**tokens).pooler_output
        pixels = processor(images=[picture(255), picture(0)], return_tensors="pt")["pixel_values"]
        seen: Any = model.vision_model(pixel_values=pixels).pooler_output
        model.text_projection.weight.copy_(solved(text, axes[[0] * len(lit) + [1] * len(unlit)]))
        model.visual_projection.weight.copy_(solved(seen, axes))
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    save_clip(folder, [*LAMP.prompts, *LAMP.audit_prompts], [*LAMP.anchors, *LAMP.neighbours])
    return folder


def lamps(*white: bool) -> NDArray[np.uint8]:
    return np.stack([picture(255 if lit else 0) for lit in white])


def calibrated(clip: Path, concept: Concept = LAMP) -> CalibratedDetector:
    """CLIP with the threshold that white and black pictures give it."""
    scorer = ClipScorer(ClipSettings(source=str(clip)))
    levels = [255] * 5 + [0] * 5
    scores = scorer.score(np.stack([picture(level) for level in levels]), concept)
    first, second = (scores[:5], scores[5:]) if concept is LAMP else (scores[5:], scores[:5])
    made = calibrate(first, second, ["a lit lamp"] * 5, ["a dark room"] * 5)
    return CalibratedDetector(scorer, made, concept.name)


def test_clips_score_is_the_log_odds_of_the_concepts_texts(tmp_path: Path) -> None:
    for part in build_clip():
        part.save_pretrained(tmp_path)
    scorer = build_detector(f"clip:{tmp_path}")
    assert isinstance(scorer, Scorer)
    model, tokenizer, processor = (scorer.model, scorer.tokenizer, scorer.pictures)  # type: ignore[attr-defined]
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    texts = [*LAMP.prompts, *LAMP.audit_prompts, *LAMP.anchors, *LAMP.neighbours]
    with torch.inference_mode():
        pixels = processor(images=list(images), return_tensors="pt")
        logits = model(**tokenizer(texts, return_tensors="pt", padding=True), **pixels).logits_per_image
    share_of = logits.double().softmax(1).numpy()
    expected = np.log(share_of[:, :2].sum(1)) - np.log(share_of[:, 2:].sum(1))
    scores = scorer.score(images, LAMP)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert len(set(scores.round(6))) == 3
    # A threshold decides: the highest score alone is found at the middle between the two highest.
    middle = float(np.sort(scores)[1:].mean())
    detector = CalibratedDetector(scorer, Calibration(middle, 0, 5, 0, 5), "lamp")
    assert detector.detect(images, LAMP).tolist() == (scores == scores.max()).tolist()


def test_log_odds_add_up_the_texts_of_each_group() -> None:
    odds = log_odds(np.log([[1.0, 2.0, 1.0], [0.5, 0.5, 4.0]]), 2)
    np.testing.assert_allclose(odds, np.log([3.0, 0.25]))
    far = log_odds(np.array([[1000.0, 0.0], [0.0, 1000.0]]), 1)
    np.testing.assert_allclose(far, [1000.0, -1000.0])


def test_a_calibrated_clip_sees_the_concept_where_a_prompt_of_it_fits_best(clip: Path) -> None:
    detector = calibrated(clip)
    assert re.fullmatch(rf"clip:{clip.name}@[0-9a-f]{{12}}", detector.name)
    assert calibration_of(detector) == detector.calibration
    assert (detector.calibration.missed, detector.calibration.false_alarms) == (0, 0)
    images = np.stack([picture(255), picture(0), picture(250), picture(5)])
    assert detector.detect(images, LAMP).tolist() == [True, False, True, False]


def test_what_fits_an_anchor_or_a_neighbour_best_is_not_the_concept(clip: Path) -> None:
    inverted = Concept(
        name="dark",
        prompts=LAMP.anchors,
        anchors=LAMP.prompts,
        neighbours=LAMP.audit_prompts,
        audit_prompts=LAMP.neighbours,
        terms=("dark",),
    )
    assert calibrated(clip, inverted).detect(lamps(True, False), inverted).tolist() == [False, True]


def test_pictures_beyond_one_batch_are_all_read(clip: Path) -> None:
    detector = calibrated(clip)
    expected = [number % 3 > 0 for number in range(BATCH + 2)]
    images = lamps(*expected)
    assert detector.detect(images, LAMP).tolist() == expected
    assert detector.detect(images[:0], LAMP).tolist() == []


def test_clip_has_nothing_to_compare_with_if_every_other_text_is_a_prompt(clip: Path) -> None:
    same = Concept(name="lamp", prompts=("a lamp",), anchors=("a lamp",), terms=("lamp",))
    with pytest.raises(ConfigError, match=r"'lamp': all anchors and neighbours are prompts of it.*give it other"):
        build_detector(f"clip:{clip}").check(same)


def test_a_calibration_holds_for_its_concept_only(clip: Path) -> None:
    other = Concept(name="torch", prompts=("a torch",), anchors=("a room",), terms=("torch",))
    detector = calibrated(clip)
    detector.check(LAMP)
    for asked in (detector.check, lambda concept: detector.detect(lamps(True), concept)):
        with pytest.raises(ConfigError, match="was calibrated for 'lamp', not for 'torch'"):
            asked(other)


@pytest.mark.parametrize("scores", [[0.0, float("nan")], [float("inf"), 0.0], [0.0]])
def test_scores_that_are_no_numbers_decide_nothing(scores: list[float]) -> None:
    class Broken:
        name = "broken"

        def check(self, concept: Concept) -> None:
            pass

        def score(self, images: NDArray[np.uint8], concept: Concept) -> NDArray[np.float64]:
            return np.array(scores)

    detector = CalibratedDetector(Broken(), Calibration(0.0, 0, 5, 0, 5), "lamp")
    with pytest.raises(InvalidAuditError, match="'broken' gives 'lamp' scores that are not one finite number for each"):
        detector.detect(lamps(True, False), LAMP)


def test_a_clip_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no CLIP model with safetensors at .*; give clip:FOLDER") as caught:
        build_detector(f"clip:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("oracel", "unknown detector 'oracel': did you mean 'oracle'"),
        ("", "unknown detector ''"),
        ("oracle:here", "detector 'oracle': unknown setting 'source'"),
        ("clip", "detector 'clip': .*`source`"),
        ("clip:", "detector 'clip': .*`source`"),
    ],
)
def test_a_detector_that_cannot_be_built_is_refused(spec: str, says: str) -> None:
    FAMILIES.names()  # the oracle comes with its family
    with pytest.raises(ConfigError, match=says):
        build_detector(spec)
