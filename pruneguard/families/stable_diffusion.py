"""Stable Diffusion 1.x and 2.x, and every model that no other family claims."""

from __future__ import annotations

from pruneguard.concepts import Concept, list_presets, load_preset
from pruneguard.erasure.implicit import ImplicitSettings
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import SourceSettings
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts
from pruneguard.families.family import DEFAULT, FAMILIES, Family
from pruneguard.settings import Choice
from pruneguard.training.schedules.rate import LevelSettings
from pruneguard.training.settings import TrainSettings

AUDIT = AuditSettings(target=128, implicit=128)
"""How audits draw: enough pictures to pass although the detector, which is calibrated, misses some."""


def preset() -> TrainSettings:
    """The paper's settings (supplement C): batch of eight GPUs, K 20, ESD on forward-noised concept latents.

    The paper knows no implicit prompts, so they take no part unless a configuration gives them a share.
    """
    return TrainSettings(
        steps=20_000,
        batch_size=64,
        schedule=Choice("alternating", {"every": 20}),
        lower=LevelSettings(lr=1e-6, warmup=250),
        upper=LevelSettings(lr=5e-6, warmup=250),
        erasure=ErasureSettings(
            eraser=Choice("esd"),
            source=SourceSettings(kind="noised"),
            implicit=ImplicitSettings(share=0.0, lower="teacher"),
            batch_size=64,
            images=256,
        ),
    )


def audit_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts:
    """The concept's audit prompts; its neighbours too if the settings ask for a metric that can read them."""
    other = settings.other if settings.metrics else 0
    return concept_prompts(concept, target=settings.target, other=other, implicit=settings.implicit)


@FAMILIES.register(DEFAULT)
def stable_diffusion() -> Family:
    """The family of Stable Diffusion models."""
    return Family(
        name=DEFAULT,
        claims=lambda model: False,  # it is the default: it has every model that no other family claims
        preset=preset(),
        audit=AUDIT,
        concept_names=list_presets(),
        concept=lambda name, beside: load_preset(name),
        audit_prompts=audit_prompts,
    )
