"""The contract of metrics, and their registry. A metric measures the pictures of one audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pruneguard.concepts import Concept
from pruneguard.evaluation.detectors.detector import Images
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.measurement import Measurement
from pruneguard.registry import Registry


@dataclass(frozen=True)
class AuditPictures:
    """What one subject drew in an audit: `target[i]` for `prompts.target[i]`, `other[i]` for `prompts.other[i]`."""

    concept: Concept
    prompts: AuditPrompts
    target: Images
    """Pictures (N, H, W, 3) of the prompts that ask for the concept."""
    other: Images
    """Pictures (M, H, W, 3) of the prompts that do not."""


class Metric(Protocol):
    """Measures the pictures of one audit.

    The measurements have names, values, units and counts; a metric that runs a network names it in
    `protocol.backbone`. The audit itself adds the subject and how the pictures were drawn. A metric that cannot say
    anything about these pictures returns an empty list.
    """

    def __call__(self, pictures: AuditPictures) -> list[Measurement]: ...


METRICS: Registry[Callable[[Any], Metric]] = Registry("metric", packages=("pruneguard.evaluation.metrics",))
"""Metrics by name; `build` takes the entry's settings object and returns a Metric."""


def build_metric(name: str) -> Metric:
    """The metric of that name with its default settings. Raises ConfigError for an unknown name."""
    return METRICS.find(name).build(METRICS.settings(name))
