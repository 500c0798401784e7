"""The atelier family: concepts, data, prompts, detector, metric and preset of the embedded model."""

from __future__ import annotations

from pruneguard.families.atelier import data, detector, family, metric

__all__ = ["data", "detector", "family", "metric"]
