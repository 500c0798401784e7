"""The Fréchet distance: closed forms, and what it sees on atelier that the oracle forgives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pruneguard import atelier
from pruneguard.atelier.oracle import Oracle, load_oracle
from pruneguard.atelier.world import Scene
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families import find_family
from pruneguard.families.atelier.concepts import atelier_concept
from pruneguard.families.atelier.frechet import Frechet, FrechetSettings, frechet, moments, renderings
from pruneguard.families.atelier.metric import agreement
from pruneguard.families.atelier.prompts import atelier_prompts
from pruneguard.measurement import find

TRAINED = pytest.mark.skipif(
    not (atelier.folder() / "oracle.safetensors").is_file(), reason="atelier's weights are not in this checkout"
)
MOSAIC = atelier_concept("mosaic")
FRESH = 31  # a seed from which no reference is rendered


# --- the formula ---


def covariance(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    factor: NDArray[np.float64] = rng.normal(size=(size, size))
    return factor @ factor.T


def test_equal_covariances_leave_the_squared_distance_of_the_means() -> None:
    rng = np.random.default_rng(0)
    shared, first, second = covariance(rng, 6), rng.normal(size=6), rng.normal(size=6)
    assert frechet(first, shared, second, shared) == pytest.approx(float(np.sum((first - second) ** 2)))
    assert frechet(first, shared, first, shared) == pytest.approx(0, abs=1e-9)


def test_diagonal_covariances_add_the_squared_differences_of_the_deviations() -> None:
    rng = np.random.default_rng(1)
    mean, first, second = rng.normal(size=5), rng.uniform(0, 3, 5), rng.uniform(0, 3, 5)
    expected = float(np.sum((first - second) ** 2))
    assert frechet(mean, np.diag(first**2), mean, np.diag(second**2)) == pytest.approx(expected)


def test_in_one_dimension_it_is_the_distance_of_mean_and_deviation() -> None:
    def one(value: float) -> NDArray[np.float64]:
        return np.array([[value]])

    assert frechet(np.array([1.0]), one(4.0), np.array([-2.0]), one(25.0)) == pytest.approx(3**2 + (2 - 5) ** 2)


def test_it_is_symmetric_and_turns_with_the_features() -> None:
    rng = np.random.default_rng(2)
    a, b, shift = covariance(rng, 7), covariance(rng, 7), rng.normal(size=7)
    turn, _ = np.linalg.qr(rng.normal(size=(7, 7)))
    straight = frechet(shift, a, np.zeros(7), b)
    assert frechet(np.zeros(7), b, shift, a) == pytest.approx(straight)
    assert frechet(turn @ shift, turn @ a @ turn.T, np.zeros(7), turn @ b @ turn.T) == pytest.approx(straight)


def test_a_singular_covariance_has_a_distance() -> None:
    direction = np.array([3.0, 4.0])
    flat = np.outer(direction, direction)  # deviation 5 along (3, 4), none across
    assert frechet(np.zeros(2), flat, np.zeros(2), np.zeros((2, 2))) == pytest.approx(25.0)
    assert frechet(np.zeros(2), flat, np.zeros(2), 4 * flat) == pytest.approx(25.0)


def test_moments_are_the_mean_and_the_unbiased_covariance() -> None:
    mean, spread = moments(np.array([[0.0, 2.0], [2.0, 2.0], [4.0, 8.0]]))
    assert mean.tolist() == [2.0, 4.0]
    np.testing.assert_allclose(spread, [[4.0, 6.0], [6.0, 12.0]])


# --- the features and the metric ---


def test_features_are_the_trunks_output_averaged_over_the_picture() -> None:
    torch.manual_seed(0)
    oracle = Oracle().eval()
    images = np.random.default_rng(3).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    found = oracle.features(images, batch=2)
    with torch.inference_mode():
        expected = oracle.trunk(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).mean((2, 3))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.shape == (5, 128)
    assert oracle.features(images[:0]).shape == (0, 128)


def measured(images: NDArray[np.uint8], scenes: tuple[Scene, ...], metric: Frechet) -> tuple[float, float]:
    """The distance of the pictures, and that of as many renderings."""
    prompts = AuditPrompts(("x",), ("y",) * len(scenes), (), scenes)
    found = metric(AuditPictures(MOSAIC, prompts, images[:1], images))
    assert [entry.name for entry in found] == ["quality/frechet", "quality/frechet/rendered"]
    assert {(entry.count, entry.protocol.backbone) for entry in found} == {(len(images), "atelier-oracle")}
    return found[0].value, found[1].value


def warped(images: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """Pictures (N, 64, 64, 3) moved by a smooth random field of `pixels` root mean square, which bends every corner."""
    generator, size = torch.Generator().manual_seed(0), images.shape[1]
    coarse = torch.randn(len(images), 2, 8, 8, generator=generator)
    field = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)
    field = field / field.std() * pixels
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    places = torch.stack([columns + field[:, 0], rows + field[:, 1]], -1) / (size - 1) * 2 - 1
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    moved = torch.nn.functional.grid_sample(pictures, places, padding_mode="border", align_corners=True)
    return moved.permute(0, 2, 3, 1).round().clamp(0, 255).byte().numpy()


@TRAINED
def test_warped_corners_are_seen_where_the_oracle_forgives_them_and_further_renderings_are_not() -> None:
    oracle = load_oracle()
    metric = Frechet(FrechetSettings(renderings=4), oracle=oracle)
    scenes = atelier_prompts(MOSAIC, target=1, other=96, seed=1000).other_asked
    again = renderings(scenes, 1, FRESH)
    bent = warped(again, 1.5)
    silent, floor = measured(again, scenes, metric)
    seen, _ = measured(bent, scenes, metric)
    assert silent == pytest.approx(floor, rel=0.1)
    assert seen >= 1.2 * floor
    before, after = agreement(oracle, again, scenes), agreement(oracle, bent, scenes)
    assert max(before[name] - after[name] for name in before) <= 0.1


@TRAINED
def test_the_bias_falls_with_the_number_of_pictures() -> None:
    scenes = atelier_prompts(MOSAIC, target=1, other=32, seed=1000).other_asked
    metric = Frechet(FrechetSettings(renderings=2))
    few, _ = measured(renderings(scenes, 1, FRESH), scenes, metric)
    many, _ = measured(renderings(scenes * 4, 1, FRESH), scenes * 4, metric)
    assert 0 < many < few / 2


def test_equal_pictures_give_equal_values_and_the_record_says_what_they_were_compared_with() -> None:
    torch.manual_seed(0)
    scenes = (Scene("disc", "flat", "red"), Scene("star", "glow", "blue"), Scene("ring", "relief", "green"))
    prompts = AuditPrompts(("x",), ("y",) * 3, (), scenes)
    metric = Frechet(FrechetSettings(renderings=2, seed=5), oracle=Oracle().eval())
    pictures = AuditPictures(MOSAIC, prompts, np.zeros((1, 64, 64, 3), np.uint8), renderings(scenes, 1, FRESH))
    first, second = metric(pictures), metric(pictures)
    assert first == second
    assert first[0].protocol.settings == {"renderings": 2, "renderings_seed": 5}
    same = AuditPictures(MOSAIC, prompts, pictures.target, renderings(scenes, 1, 6))
    value, floor = (find(metric(same), name) for name in ("quality/frechet", "quality/frechet/rendered"))
    assert value is not None and floor is not None
    assert value.value == pytest.approx(floor.value)  # the floor's own pictures


def test_it_says_nothing_without_scenes_and_of_a_single_picture() -> None:
    glow = Concept(name="glow", prompts=("a disc in glow style",), anchors=("a disc",), terms=("glow",))
    images = np.zeros((2, 64, 64, 3), np.uint8)
    metric = Frechet(oracle=Oracle())
    assert metric(AuditPictures(glow, AuditPrompts(("a",), ("b", "c")), images, images)) == []
    one = AuditPrompts(("a",), ("b",), (), (Scene("disc", "flat", "red"),))
    assert metric(AuditPictures(glow, one, images, images[:1])) == []


@pytest.mark.parametrize("wrong", [{"renderings": 0}, {"seed": -1}])
def test_settings_without_a_reference_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="needs at least one rendering of each scene"):
        FrechetSettings(**wrong)


def test_audits_of_ateliers_models_measure_it_beside_what_is_kept() -> None:
    assert find_family("atelier").metrics == ("kept", "frechet")
    assert METRICS.settings("frechet") == FrechetSettings()
