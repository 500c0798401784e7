"""Suppression of concepts: the contract of an erasure, where its batches come from, and the methods."""

from __future__ import annotations

from pruneguard.erasure.contract import ERASERS, ConceptBatch, Erasure, UpperStep
from pruneguard.erasure.gradient import GradientErasure, gradient_eraser
from pruneguard.erasure.parameters import select_parameters
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import ConceptPool, SourceSettings, TimestepSettings, draw_concept_batch
from pruneguard.erasure.task import ErasureTask

__all__ = [
    "ERASERS",
    "ConceptBatch",
    "ConceptPool",
    "Erasure",
    "ErasureSettings",
    "ErasureTask",
    "GradientErasure",
    "SourceSettings",
    "TimestepSettings",
    "UpperStep",
    "draw_concept_batch",
    "gradient_eraser",
    "select_parameters",
]
