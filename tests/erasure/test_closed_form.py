"""Equation 7 of Unified Concept Editing against a least-squares solver that knows nothing of the closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pruneguard.erasure.closed_form import find_edit


def random_rows(*shapes: tuple[int, int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def closed_form_edit(
    weight: Tensor,
    concepts: Tensor,
    guides: Tensor,
    preserve: Tensor,
    reference: Tensor | None = None,
    *,
    erase_scale: float,
    preserve_scale: float,
    ridge: float,
) -> Tensor:
    edit = find_edit(concepts, guides, preserve, erase_scale=erase_scale, preserve_scale=preserve_scale, ridge=ridge)
    return edit.apply(weight, weight if reference is None else reference)


def least_squares(
    weight: Tensor, concepts: Tensor, guides: Tensor, preserve: Tensor, scales: tuple[float, float, float]
) -> Tensor:
    """The minimiser of equation 7, from its stacked rows, each multiplied by the root of its weight."""
    erase, keep, ridge = np.sqrt(scales)
    identity = np.eye(weight.shape[1])
    states = np.vstack([erase * concepts.numpy(), keep * preserve.numpy(), ridge * identity])
    old = weight.numpy().T
    values = np.vstack([erase * guides.numpy() @ old, keep * preserve.numpy() @ old, ridge * old])
    return torch.from_numpy(np.linalg.lstsq(states, values, rcond=None)[0].T.copy())


@pytest.mark.parametrize("scales", [(1.0, 1.0, 0.5), (10.0, 0.1, 0.01), (0.3, 5.0, 2.0)])
@pytest.mark.parametrize(("out", "d", "n", "m"), [(6, 8, 3, 2), (5, 16, 40, 30), (64, 32, 1, 1), (7, 24, 9, 0)])
def test_the_edit_is_the_least_squares_solution(
    out: int, d: int, n: int, m: int, scales: tuple[float, float, float]
) -> None:
    weight, concepts, guides, preserve = random_rows((out, d), (n, d), (n, d), (m, d))
    edited = closed_form_edit(
        weight, concepts, guides, preserve, erase_scale=scales[0], preserve_scale=scales[1], ridge=scales[2]
    )
    wanted = least_squares(weight, concepts, guides, preserve, scales)
    assert (edited - wanted).abs().max().item() < 1e-8


def test_the_weight_keeps_its_dtype_and_is_not_written_to() -> None:
    weight, concepts, guides, preserve = (rows.float() for rows in random_rows((4, 8), (2, 8), (2, 8), (3, 8)))
    before = weight.clone()
    edited = closed_form_edit(weight, concepts, guides, preserve, erase_scale=1, preserve_scale=1, ridge=0.5)
    assert edited.dtype == torch.float32
    assert torch.equal(weight, before)


def test_without_an_erase_scale_the_weight_stays_bit_for_bit() -> None:
    weight, concepts, guides, preserve = random_rows((4, 8), (2, 8), (2, 8), (3, 8))
    edited = closed_form_edit(weight, concepts, guides, preserve, erase_scale=0, preserve_scale=1, ridge=0.5)
    assert torch.equal(edited, weight)


def test_a_concept_that_is_its_own_guide_leaves_the_weight() -> None:
    weight, concepts, preserve = random_rows((4, 8), (2, 8), (3, 8))
    edited = closed_form_edit(weight, concepts, concepts, preserve, erase_scale=1, preserve_scale=1, ridge=0.5)
    assert torch.equal(edited, weight)


def test_the_ridge_holds_the_weight() -> None:
    weight, concepts, guides, preserve = random_rows((4, 8), (2, 8), (2, 8), (3, 8))
    moved = [
        (closed_form_edit(weight, concepts, guides, preserve, erase_scale=1, preserve_scale=1, ridge=ridge) - weight)
        .norm()
        .item()
        for ridge in (0.1, 1.0, 10.0, 1e9)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 1e-7


def test_an_edit_that_preserves_its_guides_and_has_no_ridge_to_speak_of_changes_nothing_twice() -> None:
    weight, concepts, guides = random_rows((4, 16), (3, 16), (3, 16))
    once = closed_form_edit(weight, concepts, guides, guides, erase_scale=1.0, preserve_scale=1.0, ridge=1e-6)
    twice = closed_form_edit(once, concepts, guides, guides, erase_scale=1.0, preserve_scale=1.0, ridge=1e-6)
    assert (once - weight).norm().item() > 1
    assert (once @ concepts.T - weight @ guides.T).abs().max().item() < 1e-4
    assert (twice - once).abs().max().item() < 1e-4


def test_a_later_edit_is_the_least_squares_solution_with_the_targets_of_the_reference() -> None:
    reference, drift, concepts, guides, preserve = random_rows((6, 16), (6, 16), (3, 16), (3, 16), (4, 16))
    weight = reference + 0.3 * drift
    edited = closed_form_edit(
        weight, concepts, guides, preserve, reference=reference, erase_scale=2.0, preserve_scale=0.5, ridge=0.1
    )
    c, g, p, old = concepts.numpy(), guides.numpy(), preserve.numpy(), reference.numpy().T
    states = np.vstack([np.sqrt(2.0) * c, np.sqrt(0.5) * p, np.sqrt(0.1) * np.eye(16)])
    values = np.vstack([np.sqrt(2.0) * g @ old, np.sqrt(0.5) * p @ old, np.sqrt(0.1) * weight.numpy().T])
    wanted = np.linalg.lstsq(states, values, rcond=None)[0].T
    assert np.abs(edited.numpy() - wanted).max() < 1e-8


def test_repeated_edits_converge_also_where_the_states_are_more_than_their_width() -> None:
    reference, concepts, guides, preserve = random_rows((6, 8), (40, 8), (40, 8), (30, 8))
    weight, sizes = reference, []
    for _ in range(1000):
        weight = closed_form_edit(
            weight, concepts, guides, preserve, reference=reference, erase_scale=1.0, preserve_scale=1.0, ridge=0.5
        )
        sizes.append(weight.norm().item())
    assert max(sizes) < 2 * reference.norm().item()
    assert abs(sizes[-1] - sizes[-2]) < 1e-12
