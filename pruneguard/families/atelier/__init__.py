"""The atelier family: concepts, data, prompts, detector, metrics and preset of the embedded model."""

from __future__ import annotations

from pruneguard.families.atelier import data, detector, family, frechet, metric

__all__ = ["data", "detector", "family", "frechet", "metric"]
