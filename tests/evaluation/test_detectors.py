"""Detectors by name, and CLIP on a tiny model whose answers are known."""

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
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.clip import BATCH
from pruneguard.evaluation.detectors.detector import build_detector, share
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


def save_clip(folder: Path, lit: Sequence[str], unlit: Sequence[str]) -> None:
    """A CLIP model with random towers whose projections put white pictures at the `lit` texts and black ones at others.

    Embeddings have two dimensions: `lit` texts and white pictures are (1, 0), `unlit` ones and black pictures (0, 1).
    """
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
    model = CLIPModel(config).eval()
    name = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    crop = {"height": SIZE, "width": SIZE}
    processor = getattr(transformers, name)(size={"shortest_edge": SIZE}, crop_size=crop)
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


def test_clip_sees_the_concept_where_a_prompt_of_it_fits_best(clip: Path) -> None:
    detector = build_detector(f"clip:{clip}")
    assert re.fullmatch(rf"clip:{clip.name}@[0-9a-f]{{12}}", detector.name)
    detector.check(LAMP)
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
    images = np.stack([picture(255), picture(0)])
    assert build_detector(f"clip:{clip}").detect(images, inverted).tolist() == [False, True]


def test_pictures_beyond_one_batch_are_all_read(clip: Path) -> None:
    detector = build_detector(f"clip:{clip}")
    images = np.stack([picture(255 if number % 3 else 0) for number in range(BATCH + 2)])
    assert detector.detect(images, LAMP).tolist() == [number % 3 > 0 for number in range(BATCH + 2)]
    assert detector.detect(images[:0], LAMP).tolist() == []


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


def test_a_share_counts_what_is_true() -> None:
    assert share([True, False, False, True]) == 0.5
    assert share(np.zeros(0, bool)) == 0.0
