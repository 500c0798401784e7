"""Atelier: the embedded text-to-image model, the world it draws, and the oracle that judges its pictures."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """The diffusers pipeline folder that ships with the package."""
    return Path(__file__).parent / "weights"
