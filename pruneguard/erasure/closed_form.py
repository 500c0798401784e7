"""Unified Concept Editing in closed form: linear maps that send a concept's states where its guide's states go.

Source: Gandikota et al. 2024, arXiv:2308.14761, equation 7. Shapes: n concept rows, m rows to preserve, d width of the
text states, `out` rows of a weight.
"""

from __future__ import annotations

import torch
from torch import Tensor


def edit_direction(
    concepts: Tensor, guides: Tensor, preserve: Tensor, *, erase_scale: float, preserve_scale: float, ridge: float
) -> Tensor:
    """The (d, d) float64 matrix D with W_new = W + W D for every linear map W (out, d) on these states.

    `concepts`, `guides`: (n, d), row i of `concepts` must go where row i of `guides` goes; `preserve`: (m, d).
    With C, G and P of these rows and v_i = W g_i, W_new minimises

        erase_scale sum_i |W_new c_i - v_i|^2 + preserve_scale sum_j |W_new p_j - W p_j|^2 + ridge |W_new - W|_F^2

    so that D M = erase_scale (G - C)^T C with M = ridge I + erase_scale C^T C + preserve_scale P^T P. M belongs to the
    states alone: one factorisation serves all layers. `ridge` above 0 makes M positive definite.
    """
    c, g, p = (rows.double() for rows in (concepts, guides, preserve))
    identity = torch.eye(c.shape[1], dtype=torch.float64, device=c.device)
    m = ridge * identity + erase_scale * c.T @ c + preserve_scale * p.T @ p
    # M is symmetric: D M = R^T is M D^T = R.
    transposed: Tensor = torch.linalg.solve(m, erase_scale * c.T @ (g - c))
    return transposed.T


def closed_form_edit(
    weight: Tensor,
    concepts: Tensor,
    guides: Tensor,
    preserve: Tensor,
    *,
    erase_scale: float,
    preserve_scale: float,
    ridge: float,
) -> Tensor:
    """The edited weight (out, d) in the dtype of `weight` (out, d); the other arguments as in `edit_direction`."""
    direction = edit_direction(
        concepts, guides, preserve, erase_scale=erase_scale, preserve_scale=preserve_scale, ridge=ridge
    )
    return apply_direction(weight, direction)


def apply_direction(weight: Tensor, direction: Tensor) -> Tensor:
    """W + W D, (out, d), computed in float64 and returned in the dtype of `weight` (out, d); D is (d, d)."""
    wide = weight.double()
    return (wide + wide @ direction.to(weight.device)).to(weight.dtype)
