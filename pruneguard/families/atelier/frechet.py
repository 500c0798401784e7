"""The Fréchet distance of pictures to the world's own renderings of the same scenes, in features of the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from pruneguard.atelier.oracle import Oracle, load_oracle
from pruneguard.atelier.world import Scene, render
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import Images
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.families.atelier.metric import BACKBONE
from pruneguard.measurement import Measurement, Protocol

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FrechetSettings:
    """The renderings that pictures are compared with."""

    renderings: int = 8
    """Renderings of each scene. More of them make the reference better known."""
    seed: int = 20_000_000
    """Training, audits and the oracle's own tests render from other seeds."""

    def __post_init__(self) -> None:
        """Raises ConfigError for numbers that give no reference."""
        if self.renderings < 1 or self.seed < 0:
            raise ConfigError(
                "the Fréchet distance needs at least one rendering of each scene and a seed from 0, "
                f"not {self.renderings} and {self.seed}"
            )


@METRICS.register("frechet", settings=FrechetSettings)
class Frechet:
    """`quality/frechet`: the squared Fréchet distance of the pictures that do not call for the concept.

    The reference is the world: every scene of the prompts, rendered several times. The features are the output of the
    oracle's trunk, averaged over the picture (128 numbers), so edges and textures count and not only what the oracle
    reads.

    The estimate is biased upwards at small N, because a covariance of N < 129 pictures is singular: 96 renderings of
    the reference's own scenes are about 0.3 away from it, 768 about 0.05. `quality/frechet/rendered` is that bias: the
    distance of as many further renderings, which a perfect model would reach. Compare a value with it, and with the
    value in the control, which the teacher reaches on the same prompts.
    """

    def __init__(self, settings: FrechetSettings | None = None, *, oracle: Oracle | None = None) -> None:
        self.settings = settings or FrechetSettings()
        self.oracle = oracle or _shipped_oracle()

    def __call__(self, pictures: AuditPictures) -> list[Measurement]:
        """Two measurements; none for fewer than two pictures, or for prompts whose scenes are not known."""
        scenes, each, seed = tuple(pictures.prompts.other_asked), self.settings.renderings, self.settings.seed
        if len(pictures.other) < 2 or not scenes:
            return []
        reference = _rendered(self.oracle, scenes, each, seed)
        subjects = {
            "quality/frechet": moments(self.oracle.features(pictures.other)),
            "quality/frechet/rendered": _rendered(self.oracle, scenes, 1, seed + 1),
        }
        protocol = Protocol(backbone=BACKBONE, settings={"renderings": each, "renderings_seed": seed})
        return [
            Measurement(name=name, value=frechet(*subject, *reference), count=len(scenes), protocol=protocol)
            for name, subject in subjects.items()
        ]


@cache
def _shipped_oracle() -> Oracle:
    return load_oracle()


@lru_cache(maxsize=8)
def _rendered(oracle: Oracle, scenes: tuple[Scene, ...], each: int, seed: int) -> tuple[Vector, Matrix]:
    """The moments of renderings. The audits of one run ask for the same ones, and rendering takes seconds."""
    return moments(oracle.features(renderings(scenes, each, seed)))


def renderings(scenes: Sequence[Scene], each: int, seed: int) -> Images:
    """Pictures (N * `each`, 64, 64, 3) of N scenes, rendered by the world; equal seeds give equal pictures."""
    rng = np.random.default_rng(seed)
    return np.stack([render(scene, rng) for scene in scenes for _ in range(each)])


def moments(features: NDArray[np.float64]) -> tuple[Vector, Matrix]:
    """The mean (D,) and the unbiased covariance (D, D) of features (N, D), N >= 2."""
    return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet(mean_a: Vector, cov_a: Matrix, mean_b: Vector, cov_b: Matrix) -> float:
    """The squared Fréchet distance of two normal distributions with means (D,) and covariances (D, D).

    |a - b|² + tr(A + B - 2 (A^½ B A^½)^½), with symmetric square roots (Dowson and Landau 1982, Journal of Multivariate
    Analysis 12, equation 4). The Fréchet Inception Distance is this number in other features (Heusel et al. 2017,
    arXiv:1706.08500). A^½ B A^½ has the eigenvalues of A B and is symmetric, so no root of a general matrix is needed.
    """
    root = _root(cov_a)
    inner = np.linalg.eigvalsh(root @ cov_b @ root)
    shift = mean_a - mean_b
    spread = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.clip(inner, 0, None)).sum()
    return max(float(shift @ shift + spread), 0.0)  # rounding can give a negative number for equal distributions


def _root(matrix: Matrix) -> Matrix:
    """The symmetric square root (D, D) of a symmetric matrix; rounding's negative eigenvalues count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    root: Matrix = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root
