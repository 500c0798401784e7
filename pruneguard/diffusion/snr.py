"""Signal-to-noise ratios and the min-SNR weights of the DDPM loss; t, ratios and weights have shape (B,)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

SNRForm = Literal["official", "diffusers"]


def snr(alphas_cumprod: Tensor, t: Tensor) -> Tensor:
    """Signal-to-noise ratio alpha_t^2 / sigma_t^2 of each row."""
    squared = alphas_cumprod.to(t.device)[t]
    return squared / (1 - squared)


def min_snr_weights(ratio: Tensor, gamma: float, prediction_type: str, form: SNRForm = "official") -> Tensor:
    """Weight of each row's squared error, from its SNR.

    Source: Min-SNR (arXiv:2303.09556), for epsilon min(SNR, gamma) / SNR. For v there are two: `official` is
    min(SNR + 1, gamma) / (SNR + 1), of the code released with arXiv:2412.15341 and of older diffusers; `diffusers` is
    min(SNR, gamma) / (SNR + 1), of Min-SNR's own code and of diffusers now. They differ in where the cap sets in and at
    low SNR, where `official` goes to 1 and `diffusers` to 0.
    """
    if prediction_type == "epsilon":
        return (gamma / ratio).clamp(max=1.0)  # min(SNR, gamma) / SNR, also where SNR is 0
    capped = (ratio + 1).clamp(max=gamma) if form == "official" else ratio.clamp(max=gamma)
    return capped / (ratio + 1)
