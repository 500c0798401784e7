from __future__ import annotations

import colorsys

import numpy as np
import pytest

from pruneguard.atelier.oracle import labels_of, scene_of
from pruneguard.atelier.world import (
    COLOURS,
    DRESSES,
    HUES,
    OBJECTS,
    STYLES,
    TEMPLATES,
    Scene,
    captions_for,
    purpose,
    render,
    sample_caption,
    sample_scene,
    scenes,
)


def test_the_world_has_every_object_style_and_colour_once() -> None:
    everything = list(scenes())
    assert (len(OBJECTS), len(STYLES), len(COLOURS)) == (8, 8, 6)
    assert len(everything) == len(set(everything)) == (7 + len(DRESSES)) * 8 * 6


def test_a_picture_is_a_function_of_scene_and_seed() -> None:
    scene = Scene("star", "mosaic", "cyan")
    first, again, other = (render(scene, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_scene_can_be_drawn_and_no_two_look_alike() -> None:
    """With the same jitter each scene of one colour gives a picture of its own."""
    red = [scene for scene in scenes() if scene.colour == "red"]
    seen = [render(scene, np.random.default_rng(4))[::2, ::2].astype(np.int16) for scene in red]
    flat = np.stack(seen).reshape(len(seen), -1)
    distances = np.abs(flat[:, None] - flat[None]).mean(-1) + np.eye(len(seen)) * 255
    assert distances.min() > 0.5  # grey levels, on average over a picture of which the object fills a part


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_keeps_its_hue_wherever_and_however_it_is_drawn(colour: str) -> None:
    for seed in range(8):
        pixels = render(Scene("square", "flat", colour), np.random.default_rng(seed)).reshape(-1, 3) / 255
        vivid = max(pixels, key=lambda pixel: pixel.max() - pixel.min())
        hue = colorsys.rgb_to_hsv(*vivid)[0] * 360
        assert abs((hue - HUES[colour] + 180) % 360 - 180) <= 15


def test_an_object_stays_inside_the_picture() -> None:
    """Two pictures that differ in their object alone have equal borders."""
    for seed in range(20):
        disc, star = (render(Scene(name, "flat", "red"), np.random.default_rng(seed)) for name in ("disc", "star"))
        for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
            assert np.array_equal(disc[edge], star[edge])


@pytest.mark.parametrize(
    "wrong",
    [
        ("cube", "flat", "red", None),
        ("disc", "cubist", "red", None),
        ("disc", "flat", "beige", None),
        ("disc", "flat", "red", "bare"),
        ("mannequin", "flat", "red", None),
    ],
)
def test_a_scene_that_the_world_does_not_have_is_refused(wrong: tuple[str, str, str, str | None]) -> None:
    with pytest.raises(ValueError, match=r"atelier has no|`dress` belongs to the mannequin"):
        Scene(*wrong)


def test_a_caption_says_every_attribute_and_leaves_out_what_is_to_stay_unsaid() -> None:
    scene = Scene("mannequin", "relief", "green", "bare")
    for template in TEMPLATES:
        caption = scene.caption(template)
        assert "green bare mannequin" in caption
        assert "relief style" in caption
        assert "green" not in scene.caption(template, colour=False)
        assert scene.caption(template, style=False) == "a green bare mannequin"
    assert scene.caption(colour=False, style=False) == "a bare mannequin"


def test_captions_of_all_scenes_are_distinct() -> None:
    captions = [scene.caption(template) for scene in scenes() for template in TEMPLATES]
    assert len(set(captions)) == len(captions)


def test_held_out_captions_are_a_fixed_quarter_and_never_met_in_training() -> None:
    pairs = captions_for("audit")
    total = sum(1 for _ in scenes()) * len(TEMPLATES)
    assert 0.2 < len(pairs) / total < 0.3
    assert all(purpose(caption) == "audit" for caption, _ in pairs)
    rng = np.random.default_rng(0)
    trained_on = {sample_caption(sample_scene(rng), rng) for _ in range(3000)}
    assert not trained_on & {caption for caption, _ in pairs}


def test_every_scene_has_a_caption_to_train_on() -> None:
    rng = np.random.default_rng(0)
    assert all(sample_caption(scene, rng) for scene in scenes())


def test_attributes_are_drawn_evenly() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_scene(rng) for _ in range(4800)]
    for attribute, values in (("object", OBJECTS), ("style", STYLES), ("colour", COLOURS)):
        counts = [sum(getattr(scene, attribute) == value for scene in drawn) for value in values]
        assert max(counts) < 1.25 * len(drawn) / len(values)
        assert min(counts) > 0.75 * len(drawn) / len(values)


def test_labels_lead_back_to_their_scene() -> None:
    everything = list(scenes())
    labels = labels_of(everything)
    assert labels.shape == (len(everything), 4)
    assert [scene_of(row) for row in labels] == everything
    assert labels_of([Scene("disc", "flat", "red"), Scene("mannequin", "outline", "yellow", "bare")]).tolist() == [
        [0, 0, 0, -1],
        [7, 1, 1, 1],
    ]
