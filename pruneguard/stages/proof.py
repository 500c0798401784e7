"""Training that ends when the proof holds: after each round of training the student is audited on validation prompts.

A student that shows a concept above its limit, or that lost too much of the rest, is edited in closed form, and trained
for another round if that is not enough, up to a limit of rounds. Validation prompts are neither training nor audit
prompts, so the audits that follow stay blind.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from torch import nn

from pruneguard.bundle import DRAWN, IMPLICIT
from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.erasure.closed_form import Edit
from pruneguard.erasure.methods.uce import UCESettings, edit_of, edit_unet
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.detectors.detector import Detector
from pruneguard.evaluation.drawing import SharedPictures
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.families import Family
from pruneguard.measurement import Measurement, find, named, show, show_value
from pruneguard.models import Pipeline
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.processes import from_main_process, this_process
from pruneguard.runs.progress import Advance, OnProgress
from pruneguard.runtime import torch_components
from pruneguard.settings import Choice, plain
from pruneguard.stages.auditing.drawing import audit_concept, find_metrics
from pruneguard.stages.auditing.kept import keep_measurements
from pruneguard.stages.settings import ProofSettings, RunSettings
from pruneguard.training import TrainResult, train
from pruneguard.training.schedules.contract import SCHEDULES
from pruneguard.training.settings import TrainSettings
from pruneguard.training.trainer import without_concepts

Checks = Mapping[str, Sequence[Measurement]]
"""What a small audit measured, by the name of the concept."""
PHASE = "prove"
_PRESERVED = 300
"""About how many captions of the training data an edit preserves, besides the concepts' neighbours."""
_RIDGE = 30.0
"""Weight of the distance to the weights before an edit; UCE's own 0.5 makes the weights several times larger."""
_SEED = 3_000_000
"""Added to the audit's seed for validation pictures."""


@dataclass(frozen=True)
class Proved:
    """How a run ended: the model, the rounds that it took, and what its last small audit says is still missing."""

    result: TrainResult
    rounds: int
    steps: int
    """Lower steps of all rounds."""
    upper_steps: int
    edits: int = 0
    """Edits in closed form that left less missing, and were kept."""
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
    result = train(teacher, student, data, concepts, training, folder, on_progress=on_progress)
    steps, upper = int(result.metrics["steps"]), int(result.metrics["upper_steps"])
    # Neither an edit nor a further round can follow training of a text encoder: both rest on the teacher's.
    may_go_on = result.pipeline.text_encoder is teacher.text_encoder
    edits = _Edits(teacher, concepts, data) if may_go_on and _may_edit(settings) else None
    look = partial(_missing, concepts, settings, validation, folder, on_progress)
    done = edited = 0
    missing = look(result, done)
    while missing:
        if edits:
            changed = edits.made(result)
            left = look(changed, done, suspected=missing, after="an edit")
            if len(left) < len(missing):
                result, missing, edited = changed, left, edited + 1
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
        missing = look(result, done, suspected=missing)
    return Proved(result, done, steps, upper, edited, tuple(f"{name}: {reason}" for name, reason in missing.items()))


def _may_edit(settings: RunSettings) -> bool:
    """An edit reaches whatever is written like the concept, so it is tried only where a metric sees what it costs."""
    return settings.proof.edit and bool(find_metrics(settings.family, settings.audit))


@dataclass(frozen=True)
class _Edits:
    """Edits of a student in closed form: its keys and values at the concepts' prompts become those at the anchors."""

    teacher: Pipeline
    concepts: Sequence[Concept]
    data: LatentSet

    @cached_property
    def _edit(self) -> Edit:
        kept = without_concepts(self.data, self.concepts)
        rows = range(0, len(kept), max(1, len(kept) // _PRESERVED))
        preserve = tuple(dict.fromkeys(kept.caption(row) for row in rows))
        return edit_of(self.teacher, self.concepts, UCESettings(ridge=_RIDGE, preserve=preserve))

    def made(self, result: TrainResult) -> TrainResult:
        """The result with an edited copy of its UNet. Raises TrainingError."""
        unet = copy.deepcopy(result.unet)
        edit_unet(unet, self._edit)
        return replace(result, pipeline=replace(result.pipeline, unet=unet))


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


def _missing(
    concepts: Sequence[Concept],
    settings: RunSettings,
    validation: Validation,
    folder: Path,
    on_progress: OnProgress,
    result: TrainResult,
    done: int,
    *,
    suspected: Collection[str] = (),
    after: str = "",
) -> dict[str, str]:
    """What is missing in words, by the concept's name, after `done` further rounds and what `after` says.

    The main process checks and tells the others. It begins with the `suspected` concepts, and looks at the rest once
    nothing is missing of these.
    """
    if not validation.prompts:
        return {}
    missing: dict[str, str] = {}
    if this_process().is_main_process:
        parts = [[concept for concept in concepts if (concept.name in suspected) == first] for first in (True, False)]
        found: dict[str, Sequence[Measurement]] = {}
        for part in parts:
            if not missing:
                found |= _check(result, part, settings, validation, folder / "checks", on_progress)
                missing = _lacks(found, validation.controls, settings.audit)
        waits = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        told = f"waits for {waits}" if missing else ", ".join(_told(found))
        detail = f"after {after} {told}" if after else told
        on_progress(Advance(PHASE, done, settings.proof.rounds, detail=detail))
    return from_main_process(missing)


def _lacks(found: Checks, controls: Checks, settings: AuditSettings) -> dict[str, str]:
    reasons = {name: shortfall(measured, controls.get(name, ()), settings) for name, measured in found.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _check(
    result: TrainResult,
    concepts: Sequence[Concept],
    settings: RunSettings,
    validation: Validation,
    folder: Path,
    on_progress: OnProgress,
) -> dict[str, Sequence[Measurement]]:
    """A small audit of each concept that has validation prompts and a detector; `folder` keeps them."""
    components, metrics = torch_components(result.pipeline), find_metrics(settings.family, settings.audit)
    drawing = replace(settings.checks, seed=settings.audit.seed + _SEED)
    unet, shared = fingerprint(result.unet), SharedPictures()

    def audit(concept: Concept) -> Sequence[Measurement]:
        prompts, detector = validation.prompts[concept.name], validation.detectors[concept.name]
        return audit_concept(
            "check", components, concept, prompts, detector, drawing, on_progress, metrics=metrics, shared=shared
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
        kept = folder / f"{concept.name}-{digest_of(made_from)[:16]}"
        found[concept.name] = keep_measurements(kept, "check", partial(audit, concept))
    return found


def shortfall(measured: Sequence[Measurement], control: Sequence[Measurement], settings: AuditSettings) -> str:
    """Why a small audit does not prove a concept's suppression, in words; empty if it does.

    It holds the bounds against the audit's `limit`, and what is kept against `keep` times what the teacher kept in the
    control, whose prompts are others of the same kind.
    """
    for name, words in ((DRAWN, "drawn"), (IMPLICIT, "drawn unnamed")):
        rate = find(measured, name)
        if rate is not None and rate.high is not None and rate.high > settings.limit:
            return f"{show(rate)} {words}"
    after = named(measured, "kept")
    for name, before in named(control, "kept").items():
        if name in after and after[name].value < settings.keep * before.value:
            return f"{name} kept in {show_value(after[name].value, 'share')}"
    return ""


def _told(found: Checks) -> list[str]:
    return [f"{name} {show(rate)}" for name, measured in found.items() if (rate := find(measured, DRAWN))]
