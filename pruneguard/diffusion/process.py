"""The forward process: noised latents, and what a network must predict for them.

Shapes: x_0, noise, x_t (B, C, h, w); t (B,) int64; alphas_cumprod (T,) float32, the product of 1 - beta up to each t.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


def _scales(alphas_cumprod: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t, each (B, 1, 1, 1), with alpha_t^2 + sigma_t^2 = 1."""
    squared = alphas_cumprod.to(t.device)[t].view(-1, 1, 1, 1)
    return squared.sqrt(), (1 - squared).sqrt()


def add_noise(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = alpha_t x_0 + sigma_t noise. Source: DDPM (arXiv:2006.11239) eq. 4."""
    alpha, sigma = _scales(alphas_cumprod, t)
    return alpha * x_0 + sigma * noise


def velocity(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """v = alpha_t noise - sigma_t x_0. Source: Progressive Distillation (arXiv:2202.00512) appendix D."""
    alpha, sigma = _scales(alphas_cumprod, t)
    return alpha * noise - sigma * x_0


def training_target(x_0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor, prediction_type: str) -> Tensor:
    """What a network of that prediction type (`epsilon` or `v_prediction`) must give for x_t."""
    return noise if prediction_type == "epsilon" else velocity(x_0, noise, t, alphas_cumprod)


@dataclass(frozen=True)
class Diffusion:
    """The teacher's forward process and what its network predicts."""

    alphas_cumprod: Tensor
    prediction_type: str

    def diffuse(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t, (B, C, h, w)."""
        return add_noise(x_0, noise, t, self.alphas_cumprod)
