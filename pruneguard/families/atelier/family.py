"""The family of the embedded model and of all models made from it."""

from __future__ import annotations

from pathlib import Path

from pruneguard import atelier as embedded
from pruneguard.concepts import Concept
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts, prompts_apart
from pruneguard.families.atelier.concepts import VALUES, atelier_concept, atelier_names
from pruneguard.families.atelier.preset import AUDIT, preset
from pruneguard.families.atelier.prompts import atelier_prompts
from pruneguard.families.family import FAMILIES, Family


def claims(model: str) -> bool:
    """Whether that is the embedded model, by its name or its folder."""
    return model == "atelier" or Path(model).absolute() == embedded.folder()


def audit_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts:
    """The concept's own audit prompts if it has some; otherwise held-out captions of a concept of atelier's world."""
    if not concept.audit_prompts and concept.detect.get("attribute") in VALUES:
        return atelier_prompts(
            concept, target=settings.target, other=settings.other, implicit=settings.implicit, seed=settings.seed
        )
    other = settings.other if settings.metrics else 0
    return concept_prompts(concept, target=settings.target, other=other, implicit=settings.implicit)


def validation_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts | None:
    """Captions that neither training nor audits use, and for a concept of another world the generic choice."""
    if concept.detect.get("attribute") in VALUES:
        return atelier_prompts(
            concept,
            target=settings.target,
            other=settings.other,
            implicit=settings.implicit,
            seed=settings.seed,
            use="validation",
        )
    return prompts_apart(concept, target=settings.target, implicit=settings.implicit)


@FAMILIES.register("atelier")
def atelier() -> Family:
    """The family of the embedded model."""
    return Family(
        name="atelier",
        claims=claims,
        preset=preset(),
        audit=AUDIT,
        concept_names=atelier_names(),
        concept=atelier_concept,
        audit_prompts=audit_prompts,
        validation_prompts=validation_prompts,
        data="atelier",
        detector=lambda concept: "oracle",
        metrics=("kept", "frechet"),
    )
