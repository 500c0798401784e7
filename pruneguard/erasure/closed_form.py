"""Unified Concept Editing in closed form: linear maps that send a concept's states where its guide's states go.

Source: Gandikota et al. 2024, arXiv:2308.14761, equation 7. Shapes: n concept rows, m rows to preserve, d width of the
text states, `out` rows of a weight.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Edit(NamedTuple):
    """The (d, d) float64 matrices of an edit: W_new = W + W_0 direction - (W - W_0) pull, with W_0 the reference."""

    direction: Tensor
    pull: Tensor

    def apply(self, weight: Tensor, reference: Tensor) -> Tensor:
        """W_new (out, d), like `weight` in dtype and device; `reference` is W_0 (out, d).

        It is computed in float64 on the CPU, because not every device has float64.
        """
        wide, first = weight.cpu().double(), reference.cpu().double()
        return (wide + first @ self.direction - (wide - first) @ self.pull).to(weight)


def find_edit(
    concepts: Tensor, guides: Tensor, preserve: Tensor, *, erase_scale: float, preserve_scale: float, ridge: float
) -> Edit:
    """The edit of every linear map W (out, d) on these states.

    `concepts`, `guides`: (n, d), row i of `concepts` must go where row i of `guides` goes; `preserve`: (m, d). With C,
    G and P of these rows, W_new minimises

        erase_scale sum_i |W_new c_i - W_0 g_i|^2 + preserve_scale sum_j |W_new p_j - W_0 p_j|^2 + ridge |W_new - W|_F^2

    so direction M = erase_scale (G - C)^T C and pull M = M - ridge I, with M = ridge I + erase_scale C^T C +
    preserve_scale P^T P. With W = W_0 this is the paper's edit. The targets of later edits are still those of the
    reference, so repeated edits converge. M depends on the states alone: one factorisation serves all layers. `ridge`
    above 0 makes M positive definite.
    """
    c, g, p = (rows.double() for rows in (concepts, guides, preserve))
    states = erase_scale * c.T @ c + preserve_scale * p.T @ p
    m = states + ridge * torch.eye(c.shape[1], dtype=torch.float64, device=c.device)
    # M is symmetric: X M = R is M X^T = R^T.
    direction: Tensor = torch.linalg.solve(m, erase_scale * c.T @ (g - c)).T
    pull: Tensor = torch.linalg.solve(m, states).T
    return Edit(direction, pull)
