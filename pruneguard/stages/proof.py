"""Training that ends when the proof holds: after each round of training the student is audited on validation prompts.

A student that shows a concept above its limit is edited in closed form. If that is not enough, or if too little of the
rest is kept, it is trained for another round, up to a limit of rounds. Validation prompts are neither training nor
audit prompts, so the audits that follow stay blind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import nn

from pruneguard.bundle import DRAWN, KEPT, shortfall
from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.evaluation.detectors.detector import Detector
from pruneguard.evaluation.drawing import SharedPictures
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families import Family
from pruneguard.measurement import Measurement, find, named, show
from pruneguard.models import Pipeline
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.processes import from_main_process, this_process
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import torch_components
from pruneguard.settings import Choice, plain
from pruneguard.stages.auditing.drawing import audit_concept, find_metrics
from pruneguard.stages.auditing.kept import keep_measurements
from pruneguard.stages.editing import Edits, has_cross_attention
from pruneguard.stages.settings import ProofSettings, RunSettings
from pruneguard.training import TrainResult, train
from pruneguard.training.schedules.contract import SCHEDULES
from pruneguard.training.settings import TrainSettings

Checks = Mapping[str, Sequence[Measurement]]
"""What a small audit measured, by the name of the concept."""
PHASE = "prove"
_SEED = 3_000_000
"""Added to the audit's seed for validation pictures."""


class Lack(NamedTuple):
    """What a concept's proof lacks."""

    reason: str
    shown: bool
    """Whether it is drawn too often; otherwise too little of the rest is kept."""


@dataclass(frozen=True)
class Proved:
    """How a run ended: the model, the rounds that it took, and what its last small audit says is still missing."""

    result: TrainResult
    rounds: int
    steps: int
    """Lower steps of all rounds."""
    upper_steps: int
    edits: int = 0
    """Edits in closed form that proved a concept, and were kept."""
    missing: tuple[str, ...] = ()
    """One sentence for each concept that is not proved; empty if all are, or if none could be checked."""

    def show(self) -> str:
        """How the run ended, in words."""
        rounds = f"{self.rounds} further round{'' if self.rounds == 1 else 's'}"
        if self.edits:
            rounds += f" and {self.edits} edit{'' if self.edits == 1 else 's'} in closed form"
        lacks = f"; its own checks still find {'; '.join(self.missing)}" if self.missing else ""
        return f"{self.steps} steps with {rounds}{lacks}"


@dataclass(frozen=True)
class Validation:
    """What the main process checks between rounds, and against what."""

    prompts: Mapping[str, AuditPrompts]
    """Validation prompts by the name of the concept; a concept without them is not checked."""
    detectors: Mapping[str, Detector]
    controls: Checks
    """What the teacher drew in the audits' controls; what must be kept is a part of what it keeps."""


def set_apart(family: Family, concepts: Sequence[Concept], settings: RunSettings) -> dict[str, AuditPrompts]:
    """The validation prompts of each concept that has any, by its name."""
    found = {}
    for concept in concepts if settings.proof.rounds else ():
        if prompts := family.validation_prompts(concept, settings.checks):
            found[concept.name] = prompts
    return found


def trained_concepts(concepts: Sequence[Concept], prompts: Mapping[str, AuditPrompts]) -> tuple[Concept, ...]:
    """The concepts without the prompts that validate them."""
    return tuple(
        concept.without({*prompts[concept.name].target, *prompts[concept.name].implicit})
        if concept.name in prompts
        else concept
        for concept in concepts
    )


def train_until_proved(
    teacher: Pipeline,
    student: nn.Module,
    data: LatentSet,
    concepts: Sequence[Concept],
    settings: RunSettings,
    validation: Validation,
    folder: Path,
    on_progress: OnProgress,
) -> Proved:
    """Trains in rounds until no concept is missing, or until the rounds are used up.

    Every round keeps its checkpoints below `folder`, and its check is kept there too, so a run that was stopped goes on
    where it was. Raises the errors of `train`, and DataError for a check that cannot be read or written.
    """
    proof, training = settings.proof, settings.training
    checks = _SmallAudits(concepts, settings, validation, folder / "checks", on_progress)
    result = train(teacher, student, data, concepts, training, folder, on_progress=on_progress)
    steps, upper = int(result.metrics["steps"]), int(result.metrics["upper_steps"])
    done = edited = 0
    missing = checks.missing(result, done)
    # Neither an edit nor a further round can follow training of a text encoder: both rest on the teacher's.
    may_go_on = result.pipeline.text_encoder is teacher.text_encoder
    can_edit = may_go_on and bool(missing) and has_cross_attention(result.unet) and checks.may_edit()
    edits = Edits(teacher, concepts, data) if can_edit else None
    while missing:
        shown = any(lack.shown for lack in missing.values())  # an edit brings nothing back that training lost
        if edits and shown and (found := _edited(edits, checks, result, done, missing)):
            result, missing = found
            edited += 1
        if not missing or not may_go_on or done == proof.rounds:
            break
        done += 1
        result = train(
            teacher,
            result.unet,
            data,
            concepts,
            round_settings(training, proof, begun=steps),
            folder / f"round-{done}",
            cache=folder / "cache",
            on_progress=on_progress,
        )
        steps, upper = steps + int(result.metrics["steps"]), upper + int(result.metrics["upper_steps"])
        missing = checks.missing(result, done, suspected=missing)
    return Proved(result, done, steps, upper, edited, tuple(f"{name}: {lack.reason}" for name, lack in missing.items()))


def _edited(
    edits: Edits, checks: _SmallAudits, result: TrainResult, done: int, missing: Collection[str]
) -> tuple[TrainResult, dict[str, Lack]] | None:
    """The edited student and what it lacks; None unless the edit proves a concept and leaves the others as they are."""
    changed = edits.made(result)
    left = checks.missing(changed, done, edited=True)
    return (changed, left) if set(left) < set(missing) else None


def round_settings(training: TrainSettings, proof: ProofSettings, *, begun: int) -> TrainSettings:
    """The settings of a further round: fewer steps, lower rates that rise and fall again, and batches not seen yet."""
    schedule = SCHEDULES.settings(training.schedule)
    steps = max(schedule.least_steps, round(proof.share * training.steps))
    lower, upper = (
        replace(level, lr=proof.rate * level.lr, warmup=min(level.warmup, steps // 5))
        for level in (training.lower, training.upper)
    )
    shorter = Choice(training.schedule.name, plain(schedule.shortened(proof.share)))
    return replace(training, steps=steps, schedule=shorter, lower=lower, upper=upper, begun=begun)


@dataclass(frozen=True)
class _SmallAudits:
    """The small audits of a run; `folder` keeps what they measured."""

    concepts: Sequence[Concept]
    settings: RunSettings
    validation: Validation
    folder: Path
    on_progress: OnProgress

    def missing(
        self, result: TrainResult, done: int, *, suspected: Collection[str] = (), edited: bool = False
    ) -> dict[str, Lack]:
        """What is missing, by the concept's name, after `done` further rounds.

        The main process checks and tells the others. It begins with the `suspected` concepts, and checks the others
        only if these lack nothing.
        """
        if not self.validation.prompts:
            return {}
        missing: dict[str, Lack] = {}
        if this_process().is_main_process:
            found: dict[str, Sequence[Measurement]] = {}
            for part in _parts(self.concepts, suspected):
                if not missing:
                    found |= self._look(result, part)
                    missing = self._lacks(found)
            detail = f"after an edit: {_told(found, missing)}" if edited else _told(found, missing)
            self.on_progress(Advance(PHASE, done, self.settings.proof.rounds, detail=detail))
        return from_main_process(missing)

    def may_edit(self) -> bool:
        """Whether edits are wanted, and the check of every concept measures what is kept beside the teacher."""
        prompts, controls = self.validation.prompts, self.validation.controls
        seen = all(texts.other and named(controls.get(name, ()), KEPT) for name, texts in prompts.items())
        return from_main_process(self.settings.proof.edit and seen)

    def _lacks(self, found: Checks) -> dict[str, Lack]:
        controls, audit = self.validation.controls, self.settings.audit
        lacks = {}
        for name, measured in found.items():
            reason = shortfall(measured, controls.get(name, ()), limit=audit.limit, keep=audit.keep)
            if reason:
                lacks[name] = Lack(reason, shown=bool(shortfall(measured, (), limit=audit.limit, keep=audit.keep)))
        return lacks

    def _look(self, result: TrainResult, concepts: Sequence[Concept]) -> dict[str, Sequence[Measurement]]:
        """A small audit of each concept that has validation prompts and a detector."""
        settings, validation = self.settings, self.validation
        components, metrics = torch_components(result.pipeline), find_metrics(settings.family, settings.audit)
        drawing = replace(settings.checks, seed=settings.audit.seed + _SEED)
        unet, shared = fingerprint(result.unet), SharedPictures()

        def audit(concept: Concept) -> Sequence[Measurement]:
            prompts, detector = validation.prompts[concept.name], validation.detectors[concept.name]
            return audit_concept(
                "check",
                components,
                concept,
                prompts,
                detector,
                drawing,
                self.on_progress,
                metrics=metrics,
                shared=shared,
            ).measurements

        found: dict[str, Sequence[Measurement]] = {}
        for concept in concepts:
            if concept.name not in validation.prompts or concept.name not in validation.detectors:
                continue
            made_from = {
                "unet": unet,
                "concept": plain(concept),
                "settings": plain(drawing),
                "prompts": validation.prompts[concept.name].digest,
                "detector": validation.detectors[concept.name].name,
            }
            kept = self.folder / f"{concept.name}-{digest_of(made_from)[:16]}"
            found[concept.name] = keep_measurements(kept, "check", partial(audit, concept))
        return found


def _parts(concepts: Sequence[Concept], suspected: Collection[str]) -> list[list[Concept]]:
    """The suspected concepts, and the others; no part is empty."""
    parts = ([each for each in concepts if (each.name in suspected) == first] for first in (True, False))
    return [part for part in parts if part]


def _told(found: Checks, missing: Mapping[str, Lack]) -> str:
    """What a check found, in words for the progress."""
    if missing:
        return "waits for " + "; ".join(f"{name}: {lack.reason}" for name, lack in missing.items())
    return ", ".join(f"{name} {show(rate)}" for name, measured in found.items() if (rate := find(measured, DRAWN)))
