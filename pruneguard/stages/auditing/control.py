"""Controls: what the teacher draws with the prompts and seeds of an audit.

A control shows that the detector can see the concept, and what there is to keep. It is drawn once for each concept,
detector and list of prompts. The control of a detector that gives scores has the detector's calibration as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pruneguard.bundle import DRAWN, Bundle, blindness, space_of
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, InvalidAuditError, ModelError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.calibration import read_calibration
from pruneguard.evaluation.detectors.detector import Detector, Scorer
from pruneguard.evaluation.drawing import SharedPictures
from pruneguard.families import Family
from pruneguard.measurement import Measurement, find
from pruneguard.models import Pipeline
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.progress import OnProgress
from pruneguard.runtime import Components, torch_components
from pruneguard.settings import plain
from pruneguard.stages.auditing.calibration import calibrated, measure_calibration, recorded_calibration
from pruneguard.stages.auditing.drawing import audit_components
from pruneguard.stages.auditing.kept import keep_measurements
from pruneguard.stages.lineage import check_teacher, recorded_teacher
from pruneguard.stages.models import load_teacher

Controls = Mapping[str, Sequence[Measurement]]
"""The teacher's measurements by the name of the concept."""
TEACHER = "teacher"


def draw_controls(
    teacher: Pipeline,
    concepts: Sequence[Concept],
    family: Family,
    detectors: Mapping[str, Detector | Scorer],
    settings: AuditSettings,
    on_progress: OnProgress,
    *,
    folder: Path | None = None,
    calibrations: Mapping[str, Sequence[Measurement]] | None = None,
) -> dict[str, Sequence[Measurement]]:
    """The control of each concept that has a detector; `folder` keeps them under a digest of all they depend on.

    `calibrations` are known ones by the name of the concept; the teacher's pictures calibrate other scorers. Raises
    InvalidAuditError for a detector that cannot tell a concept, ConfigError for prompts that show nothing, and
    DataError if the folder cannot be read or written.
    """
    controls: dict[str, Sequence[Measurement]] = {}
    components, shared = torch_components(teacher), SharedPictures()
    models = [fingerprint(part) for part in (teacher.unet, teacher.text_encoder, teacher.vae)]
    for concept in concepts:
        if concept.name not in detectors:
            continue
        known = (calibrations or {}).get(concept.name, ())
        made_from = {
            "prompts": family.audit_prompts(concept, settings).digest,
            "settings": plain(replace(settings, limit=0.0, floor=0.0, keep=0.0)),  # they change no picture
            "concept": plain(concept),
            "detector": detectors[concept.name].name,
            "calibration": plain(list(known)),
            "metrics": [*family.metrics, *settings.metrics],
            "models": models,
            "scheduler": dict(teacher.scheduler.config),
        }
        kept = folder / f"{concept.name}-{digest_of(made_from)[:16]}" if folder else None
        draw = partial(
            _draw_control, components, concept, family, detectors[concept.name], settings, on_progress, known, shared
        )
        controls[concept.name] = keep_measurements(kept, "control", draw) if kept else draw()
    check_controls(controls, settings)
    return controls


def _draw_control(
    components: Components,
    concept: Concept,
    family: Family,
    detector: Detector | Scorer,
    settings: AuditSettings,
    on_progress: OnProgress,
    calibration: Sequence[Measurement],
    shared: SharedPictures,
) -> Sequence[Measurement]:
    """What the teacher's components give, with the calibration of a scorer: the known one, or else a new one."""
    if isinstance(detector, Scorer) and not calibration:
        calibration = measure_calibration(TEACHER, components, concept, detector, settings, on_progress)
    looking = calibrated({concept.name: detector}, {concept.name: calibration})
    (result,) = audit_components(TEACHER, components, [concept], family, looking, settings, on_progress, shared=shared)
    return (*result.measurements, *calibration)


def check_controls(controls: Controls, settings: AuditSettings) -> None:
    """Raises InvalidAuditError, which names the concept, for a detector that cannot tell it."""
    for concept, measured in controls.items():
        if reason := blindness(measured, floor=settings.floor):
            raise InvalidAuditError(
                f"an audit of {concept!r} would show nothing: {reason}; choose another --detector, or other "
                "audit_prompts for the concept"
            )


def bundle_controls(
    bundle: Bundle,
    concepts: Sequence[Concept],
    family: Family,
    detectors: Mapping[str, Detector | Scorer],
    settings: AuditSettings,
    on_progress: OnProgress,
    *,
    teacher: str | None = None,
) -> dict[str, Sequence[Measurement]]:
    """The controls for a subject of a bundle: those on record, and for other prompts or detectors new ones.

    New ones are drawn by `teacher`, by default the model that the bundle was made from. Raises InvalidAuditError, and
    ConfigError if that model cannot be loaded or has other weights than the teacher of the lineage.
    """
    controls: dict[str, Sequence[Measurement]] = {}
    loaded = _source(bundle, teacher) if teacher else None
    for concept in concepts:
        if concept.name not in detectors:
            continue
        prompts, detector = family.audit_prompts(concept, settings).digest, detectors[concept.name]
        recorded = _recorded(bundle, concept.name, prompts, detector.name, settings)
        if recorded is None or (isinstance(detector, Scorer) and read_calibration(recorded) is None):
            loaded = loaded or _source(bundle, teacher)
            recorded = draw_controls(
                loaded,
                [concept],
                family,
                detectors,
                settings,
                on_progress,
                calibrations={concept.name: recorded_calibration(bundle, concept.name, detector.name)},
            )[concept.name]
        controls[concept.name] = recorded
    check_controls(controls, settings)
    return controls


def _recorded(
    bundle: Bundle, concept: str, prompts: str, detector: str, settings: AuditSettings
) -> Sequence[Measurement] | None:
    """A control in the manifest that was drawn and read in the same way, or None."""
    for audit in bundle.manifest.audits:
        seen = find(audit.control, DRAWN)
        if (audit.concept, audit.prompts) != (concept, prompts) or seen is None or seen.seeds is None:
            continue
        drawing = seen.protocol.settings
        way = (seen.protocol.detector, seen.seeds[0], drawing.get("steps"), drawing.get("guidance_scale"))
        own = (detector, settings.seed, settings.steps, settings.guidance_scale)
        if way == own and space_of(drawing) == settings.covered:
            return audit.control
    return None


def _source(bundle: Bundle, teacher: str | None) -> Pipeline:
    """The teacher: the given one, or the one that the lineage names. Raises ConfigError if it cannot be loaded."""
    named = (teacher, None) if teacher else recorded_teacher(bundle)
    try:
        if named is None:
            raise ModelError("its lineage names no model that is known everywhere")
        solver = bundle.manifest.sampler.get("solver")  # training may have chosen another than the teacher's own
        loaded = load_teacher(named[0], solver, named[1])
    except ModelError as error:
        raise ConfigError(
            f"{bundle.path}: this audit needs a control by the teacher, which cannot be loaded: {error}; give --teacher"
        ) from error
    check_teacher(bundle, loaded)
    return loaded
