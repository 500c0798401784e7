"""Calibrations of detectors that give scores: on pictures that the teacher draws, or from a bundle's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pruneguard.bundle import DRAWN, FALSE_ALARMS, IMPLICIT, MISSED, THRESHOLD, Bundle, Space
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError, InvalidAuditError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.bounds import pictures_for, upper_bound
from pruneguard.evaluation.calibration import FOLDS, calibrate, least_pictures, read_calibration
from pruneguard.evaluation.detectors.calibrated import CalibratedDetector, finite_scores
from pruneguard.evaluation.detectors.detector import Detector, Scorer
from pruneguard.evaluation.drawing import draw_pictures, own_size
from pruneguard.evaluation.space import plan_pictures
from pruneguard.measurement import Measurement, Protocol, find, show_value
from pruneguard.runs.progress import OnProgress, counting
from pruneguard.runtime import Components

SEEDS = (10_000_000, 20_000_000)
"""Added to the audit's seed for the calibration pictures with the concept and without it; audits draw from others."""


def measure_calibration(
    subject: str,
    components: Components,
    concept: Concept,
    scorer: Scorer,
    settings: AuditSettings,
    on_progress: OnProgress,
) -> list[Measurement]:
    """Calibrates a scorer for a concept on pictures drawn by `components`, which are the teacher's.

    Draws `settings.calibration` pictures for the concept's prompts, and as many for its anchors and neighbours. All
    have the audit's own steps and guidance scale; the error rates are taken to hold for the whole space of an audit.
    Raises InvalidAuditError for scores that are not finite.
    """
    scorer.check(concept)
    called = spread_prompts(concept.prompts, settings.calibration)
    instead = [text for text in (*concept.anchors, *concept.neighbours) if text not in concept.prompts]
    uncalled = spread_prompts(instead, settings.calibration)
    drawn = counting(on_progress, f"calibrate {scorer.name}: {concept.name}", len(called) + len(uncalled))
    seeds = [settings.seed + offset for offset in SEEDS]
    scores = []
    for prompts, seed in zip((called, uncalled), seeds, strict=True):
        point = Space.point(settings.steps, settings.guidance_scale)
        groups = plan_pictures(point, settings.steps, settings.guidance_scale, len(prompts), seed)
        images = own_size(
            draw_pictures(components, prompts, seed, groups, batch_size=settings.batch_size, on_images=drawn)
        ).images
        scores.append(finite_scores(scorer, images, concept))
    way = {"steps": settings.steps, "guidance_scale": settings.guidance_scale, "size": list(images.shape[1:3])}
    texts = {"prompts": len(set(called)), "other_prompts": len(set(uncalled)), "folds": FOLDS}
    first, second = ((seed, seed + settings.calibration - 1) for seed in seeds)
    return calibrate(scores[0], scores[1], called, uncalled).measurements(
        (first, second), Protocol(subject=subject, detector=scorer.name, settings={**way, **texts})
    )


def spread_prompts(prompts: Sequence[str], count: int) -> list[str]:
    """`count` prompts at equal distances in a list without its repetitions; equal ones stand together.

    Raises ConfigError for an empty list.
    """
    texts = list(dict.fromkeys(prompts))
    if not texts:
        raise ConfigError("a calibration needs prompts with the concept and prompts without it; give it neighbours")
    return [texts[i * len(texts) // count] for i in range(count)]


def recorded_calibration(bundle: Bundle, concept: str, detector: str) -> list[Measurement]:
    """The calibration of a detector for a concept in a bundle's audits; empty if there is none.

    Later audits of the bundle use it, so that a new threshold cannot turn a failed audit into a passed one.
    """
    for audit in bundle.manifest.audits:
        threshold, drawn = find(audit.control, THRESHOLD), find(audit.control, DRAWN)
        if audit.concept == concept and threshold and drawn and drawn.protocol.detector == detector:
            return [entry for entry in audit.control if entry.name in (THRESHOLD, MISSED, FALSE_ALARMS)]
    return []


def calibrated(
    detectors: Mapping[str, Detector | Scorer], controls: Mapping[str, Sequence[Measurement]]
) -> dict[str, Detector]:
    """The detectors that decide: each scorer with the calibration in the control of its concept.

    Both mappings have the concepts' names as keys. Raises InvalidAuditError for a scorer without a calibration.
    """
    deciding: dict[str, Detector] = {}
    for concept, detector in detectors.items():
        if not isinstance(detector, Scorer):
            deciding[concept] = detector
            continue
        calibration = read_calibration(controls.get(concept, ()))
        if calibration is None:
            raise InvalidAuditError(
                f"detector {detector.name!r} has no threshold for {concept!r}: its control has no calibration; draw "
                "the control again"
            )
        deciding[concept] = CalibratedDetector(detector, calibration, concept)
    return deciding


def check_reach(controls: Mapping[str, Sequence[Measurement]], settings: AuditSettings) -> None:
    """Raises ConfigError for audits that could not pass even if no picture showed the concept.

    Few pictures are not enough, and the misses of a calibrated detector raise the bound further. Training asks before
    it begins, and an audit before it draws. Implicit pictures count if the control has some.
    """
    for concept, measured in controls.items():
        calibration = read_calibration(measured)
        counts = {"target": settings.target}
        if find(measured, IMPLICIT) is not None:
            counts["implicit"] = settings.implicit
        name = min(counts, key=lambda kind: counts[kind])
        bound = calibration.bound(0, counts[name]) if calibration else upper_bound(0, counts[name])
        if bound <= settings.limit:
            continue
        missed, least = "", pictures_for(settings.limit)
        if calibration:
            missed = f"its detector missed {calibration.missed} of {calibration.positives} calibration pictures, so "
            least = least_pictures(calibration, settings.limit)
        remedy = "choose another --detector" if least is None else f"ask for at least {least} {name} pictures"
        raise ConfigError(
            f"an audit of {concept!r} with {counts[name]} {name} pictures cannot pass: {missed}even none shown gives a "
            f"bound of {show_value(bound, 'share')}, and the limit is {show_value(settings.limit, 'share')}; {remedy}"
        )
