"""Concepts to suppress: presets as data, and their loader."""

from __future__ import annotations

from pruneguard.concepts.concept import Concept, ParameterSet, check_prompts
from pruneguard.concepts.library import Family, list_concepts, load_concept

__all__ = ["Concept", "Family", "ParameterSet", "check_prompts", "list_concepts", "load_concept"]
