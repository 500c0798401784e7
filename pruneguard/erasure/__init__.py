"""Erasers: how the upper level suppresses a concept. A new one is a file here and its import below."""

from __future__ import annotations

from pruneguard.erasure.contract import ConceptBatch, Eraser, eraser, find_eraser, list_erasers
from pruneguard.erasure.methods import anchor, esd
from pruneguard.erasure.parameters import select_parameters
from pruneguard.erasure.sources import ConceptPool, SourceSettings, TimestepSettings, draw_concept_batch

__all__ = [
    "ConceptBatch",
    "ConceptPool",
    "Eraser",
    "SourceSettings",
    "TimestepSettings",
    "anchor",
    "draw_concept_batch",
    "eraser",
    "esd",
    "find_eraser",
    "list_erasers",
    "select_parameters",
]
