"""Concepts to suppress: what a concept is, and the presets that come as data."""

from __future__ import annotations

from pruneguard.concepts.concept import Concept, ParameterSet
from pruneguard.concepts.library import list_presets, load_preset, read_concept
from pruneguard.concepts.together import suppress_together

__all__ = ["Concept", "ParameterSet", "list_presets", "load_preset", "read_concept", "suppress_together"]
