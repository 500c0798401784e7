"""The training stage: prune, distil and suppress, audit, and write the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pruneguard.bundle import DEFAULT_UNET, MODEL, Bundle, BundleDraft, Policy, Stage, write_bundle
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import Detector
from pruneguard.export import sampler_settings
from pruneguard.measurement import Measurement
from pruneguard.models import Pipeline
from pruneguard.pruning.criteria import reads_data
from pruneguard.runs.digest import weights_digest
from pruneguard.runs.lock import forget_run, run_alone
from pruneguard.runs.processes import this_process
from pruneguard.runtime import torch_components
from pruneguard.settings import plain
from pruneguard.sources import public_name, without_paths
from pruneguard.stages.auditing.calibration import calibrated, check_reach
from pruneguard.stages.auditing.control import Controls, draw_controls
from pruneguard.stages.auditing.drawing import audit_components, find_detectors
from pruneguard.stages.auditing.record import Judged, record_audits
from pruneguard.stages.data import build_data
from pruneguard.stages.lineage import model_digests, model_settings
from pruneguard.stages.models import bundle_inputs, load_student, load_teacher
from pruneguard.stages.proof import Proved, Validation, set_apart, train_until_proved, trained_concepts
from pruneguard.stages.prune import macs_measurements, macs_record, prune, prune_in
from pruneguard.stages.safety_checker import copy_safety_checker, safety_record
from pruneguard.stages.settings import RunSettings
from pruneguard.training import OnProgress
from pruneguard.training.trainer import check_run
from pruneguard.versions import versions

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def run_folder(out: Path) -> Path:
    """Where the checkpoints and caches of a bundle's run lie: beside it, under runs/. Raises ConfigError."""
    if out.name == "runs":
        raise ConfigError(
            f"{out}: a bundle cannot be called runs: the folder of that name holds the runs; use another name"
        )
    return out.absolute().parent / "runs" / out.name


def train_bundle(
    settings: RunSettings,
    out: Path,
    on_progress: OnProgress,
    *,
    fresh: bool = False,
    controls: Controls | None = None,
) -> tuple[Bundle, Proved, list[Judged]]:
    """The whole stage, from a dense model to an erased pruned bundle at `out`. After a stop it goes on where it was.

    `fresh` forgets the checkpoints and caches of an earlier run, after this run's settings have been checked.
    `controls` are those of the audits if they were drawn before; otherwise the teacher draws them before the training,
    and a detector that cannot tell a concept, or that misses too many pictures for the audit to pass, is an error then.

    Nothing is written to `out` before all is done. Of several processes (`accelerate launch`) all train, and the main
    one encodes, prunes, audits and writes; all must see the same folders, and only the main one returns audits.
    Raises the errors of its parts, each with its remedy.
    """
    process = this_process()
    concepts = settings.load_concepts()
    check_run(settings.training, concepts, process.num_processes)
    detectors = find_detectors(settings.detector, settings.family, concepts) if process.is_main_process else {}
    _check_provable(dict.fromkeys(detectors, ()), settings)
    folder = run_folder(out)
    audits: list[Judged] = []
    alone = run_alone(folder) if process.is_main_process else nullcontext()
    # The bundle is opened first: a folder that cannot be written is an error now and not after an hour.
    with alone, write_bundle(out) if process.is_main_process else nullcontext() as draft:
        teacher = load_teacher(settings.model, settings.scheduler, settings.revision)
        safety = safety_record(teacher, keep=settings.keep_safety_checker)
        source = model_digests(teacher)
        if fresh and process.is_main_process:  # the others read the folder only after the main one encoded the data
            forget_run(folder)
        with process.main_process_first():
            data = build_data(teacher, settings, folder / "data", on_progress)
            given = load_student(settings.student, teacher) if settings.student else None
            student = (
                given.unet
                if given
                else prune_in(folder, teacher, data, settings.prune, **_pruned_for(settings), on_progress=on_progress)
            )
            if draft and controls is None:
                kept, family = folder / "controls", settings.family
                controls = draw_controls(teacher, concepts, family, detectors, settings.audit, on_progress, folder=kept)
            if draft:
                _check_provable(controls or {}, settings)
        macs = macs_record(teacher, student)
        named = {**model_settings(teacher, settings.model), **safety}
        first = (
            _student_stage(settings, named, source, given, macs)
            if given
            else _prune_stage(settings, named, source, macs)
        )
        prompts, looking = set_apart(settings.family, concepts, settings), calibrated(detectors, controls or {})
        proved = train_until_proved(
            teacher,
            student,
            data,
            trained_concepts(concepts, prompts),
            settings,
            Validation(prompts, looking, controls or {}),
            folder,
            on_progress,
        )
        if draft:
            pipeline = proved.result.pipeline
            draft.add_stage(first)
            draft.add_stage(_train_stage(settings, source, data.digest, proved))
            _fill(draft, pipeline, settings, concepts, macs)
            _keep_safety_checker(settings, teacher, draft)
            audits = _audits(draft, pipeline, settings, concepts, looking, controls or {}, on_progress)
    process.wait_for_everyone()
    return Bundle.open(out), proved, audits


def _check_provable(controls: Controls, settings: RunSettings) -> None:
    """Raises ConfigError for audits or checks that could not pass, unless the run asks for no proof."""
    for asked in (settings.audit, settings.checks) if settings.proof.rounds else ():
        check_reach(controls, asked)


def _audits(
    draft: BundleDraft,
    pipeline: Pipeline,
    settings: RunSettings,
    concepts: Sequence[Concept],
    detectors: Mapping[str, Detector],
    controls: Controls,
    on_progress: OnProgress,
) -> list[Judged]:
    components, family, audit = torch_components(pipeline), settings.family, settings.audit
    results = audit_components(MODEL, components, concepts, family, detectors, audit, on_progress)
    return record_audits(draft, MODEL, results, controls, audit, trained=audit)


def _fill(
    draft: BundleDraft, pipeline: Pipeline, settings: RunSettings, concepts: Sequence[Concept], macs: dict[str, Any]
) -> None:
    pipeline.save(draft.folder / "model")
    measured = {"steps": settings.audit.steps, "guidance_scale": settings.audit.guidance_scale}
    draft.update(
        family=settings.family.name,
        sampler=sampler_settings(pipeline) | measured,  # what is served by default is what was audited
        concepts={concept.name: {**plain(concept), "detector": public_name(concept.detector)} for concept in concepts},
        policy=Policy([concept.name for concept in concepts], settings.audit.limit),
        unets={DEFAULT_UNET: "model/unet"},
        macs=macs,
    )


def _keep_safety_checker(settings: RunSettings, teacher: Pipeline, draft: BundleDraft) -> None:
    if settings.keep_safety_checker:
        copy_safety_checker(settings.model, teacher.revision, draft.folder / "model")


def prune_bundle(settings: RunSettings, out: Path, on_progress: OnProgress) -> Bundle:
    """Prune only: a bundle with the pruned model, which still needs training to draw well."""
    with run_alone(run_folder(out)), write_bundle(out) as draft:
        teacher = load_teacher(settings.model, settings.scheduler, settings.revision)
        safety = safety_record(teacher, keep=settings.keep_safety_checker)
        source = model_digests(teacher)
        data = (
            build_data(teacher, settings, run_folder(out) / "data", on_progress)
            if reads_data(settings.prune.criterion)
            else None
        )
        student = prune(teacher, data, settings.prune, **_pruned_for(settings), on_progress=on_progress)
        macs = macs_record(teacher, student)
        pipeline = replace(teacher, unet=student)
        pipeline.save(draft.folder / "model")
        _keep_safety_checker(settings, teacher, draft)
        draft.update(
            family=settings.family.name,
            sampler=sampler_settings(pipeline),
            unets={DEFAULT_UNET: "model/unet"},
            macs=macs,
        )
        named = {**model_settings(teacher, settings.model), **safety}
        draft.add_stage(_prune_stage(settings, named, source, macs))
    return Bundle.open(out)


def _pruned_for(settings: RunSettings) -> dict[str, Any]:
    """What the search for a plan takes from the training that follows it."""
    return {"losses": settings.training.losses, "seed": settings.training.seed}


def _prune_stage(settings: RunSettings, named: dict[str, Any], source: dict[str, str], macs: dict[str, Any]) -> Stage:
    return Stage(
        name="prune",
        inputs={"teacher": source, **bundle_inputs(teacher_bundle=settings.model)},
        outputs=["model/unet"],
        settings=without_paths({**named, **asdict(settings.prune)}),
        seeds={"seed": settings.training.seed},
        versions=versions(PACKAGES),
        measurements=macs_measurements(macs),
    )


def _student_stage(
    settings: RunSettings, named: dict[str, Any], source: dict[str, str], student: Pipeline, macs: dict[str, Any]
) -> Stage:
    """The stage of a student that was pruned elsewhere: its digest, and no record of a search."""
    assert settings.student is not None
    revision = {} if student.revision is None else {"student_revision": student.revision}
    return Stage(
        name="student",
        inputs={
            "teacher": source,
            "student": {"unet": weights_digest(student.unet)},
            **bundle_inputs(teacher_bundle=settings.model, student_bundle=settings.student),
        },
        outputs=["model/unet"],
        settings={**named, "student": public_name(settings.student), **revision},
        versions=versions(PACKAGES),
        measurements=macs_measurements(macs),
    )


def _train_stage(settings: RunSettings, source: dict[str, str], data: str, proved: Proved) -> Stage:
    # Wall times differ from run to run. They are left out, so that equal runs write equal bundles.
    taken = {"steps": proved.steps, "upper_steps": proved.upper_steps, "rounds": proved.rounds, "edits": proved.edits}
    measured = {k: v for k, v in (proved.result.metrics | taken).items() if not k.startswith("seconds")}
    return Stage(
        name="train",
        inputs={"teacher": source, "data_digest": data},
        outputs=["model"],
        settings=without_paths(
            plain(
                {
                    **settings.training.to_dict(),
                    "data": settings.data,
                    "proof": settings.proof,
                    "audit": settings.audit,
                    "detector": settings.detector,
                }
            )
        ),
        seeds={"seed": settings.training.seed},
        versions=versions(PACKAGES),
        measurements=[Measurement(name=name, value=value) for name, value in measured.items()],
    )
