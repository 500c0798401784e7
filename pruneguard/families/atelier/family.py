"""The family of the embedded model and of all models made from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pruneguard import atelier as embedded
from pruneguard.concepts import Concept
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.prompts import AuditPrompts, concept_prompts, prompts_apart, repeated
from pruneguard.families.atelier.concepts import VALUES, atelier_concept, atelier_names
from pruneguard.families.atelier.preset import AUDIT, preset
from pruneguard.families.atelier.prompts import atelier_prompts
from pruneguard.families.family import FAMILIES, Family


def claims(model: str) -> bool:
    """Whether that is the embedded model, by its name or its folder."""
    return model == "atelier" or Path(model).absolute() == embedded.folder()


def audit_prompts(concept: Concept, settings: AuditSettings) -> AuditPrompts:
    """Held-out captions for a concept of atelier's world, and the concept's own prompts for any other.

    A concept of atelier's world that has audit prompts is asked for by these.
    """
    if concept.detect.get("attribute") in VALUES:
        captions = atelier_prompts(
            concept, target=settings.target, other=settings.other, implicit=settings.implicit, seed=settings.seed
        )
        own = repeated(concept.audit_prompts, settings.target)
        return replace(captions, target=own, target_asked=()) if own else captions
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
