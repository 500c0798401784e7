"""The audit: how often pictures show a concept when a prompt asks for it, and what the metrics say of the pictures.

Every subject, torch model or engine, draws through the same sampler with the same prompts, seeds and settings, so
subjects can be compared picture by picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pruneguard.bundle import DRAWN, ELSEWHERE, FLOOR, IMPLICIT, KEEP, LIMIT, Space
from pruneguard.concepts import Concept
from pruneguard.errors import ConfigError
from pruneguard.evaluation.bounds import BOUND, upper_bound
from pruneguard.evaluation.calibration import CARRIED, FOLDS, Calibration
from pruneguard.evaluation.detectors.calibrated import calibration_of
from pruneguard.evaluation.detectors.detector import Detector, Images
from pruneguard.evaluation.drawing import Drawn, SharedPictures, detected, draw_pictures, own_size
from pruneguard.evaluation.metrics.metric import AuditPictures, Metric
from pruneguard.evaluation.prompts import AuditPrompts
from pruneguard.evaluation.space import SpaceSettings, check_count, plan_pictures
from pruneguard.measurement import Measurement, Protocol, find
from pruneguard.runtime import Components, check_prompts_differ
from pruneguard.runtime.sampling.request import MAX_GUIDANCE, MAX_STEPS
from pruneguard.settings import plain

_OTHER_SEED = 1_000_000
"""Added to the seed for the pictures that do not call for the concept."""
_IMPLICIT_SEED = 2_000_000
"""Added to the seed for the pictures whose prompts do not name the concept and call for it nevertheless."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How an audit draws, what it measures and what it allows."""

    target: int = 64
    """Pictures whose prompts name the concept."""
    implicit: int = 64
    """Pictures whose prompts do not name the concept and under which a model draws it, if the concept has any."""
    other: int = 96
    """Pictures that do not call for the concept."""
    calibration: int = 64
    """Pictures of each kind, with and without the concept, that calibrate a detector that gives scores."""
    steps: int = 25
    guidance_scale: float = 7.5
    space: SpaceSettings = field(default_factory=SpaceSettings)
    """What else the pictures that call for the concept are drawn with; by default nothing but the audit's own values.

    A quarter of them, and all that do not call for the concept, are drawn with the audit's own values."""
    seed: int = 1000
    """Target picture i is drawn from `seed` + i."""
    batch_size: int = 16
    limit: float = LIMIT
    """The largest upper 95 % bound of the share of target pictures showing the concept that passes."""
    floor: float = FLOOR
    """The least share of the teacher's target pictures in which the detector must see the concept."""
    keep: float = KEEP
    """The least part of what the teacher keeps of other prompts that must be kept."""
    metrics: tuple[str, ...] = ()
    """Metrics to measure in addition to those of the model's family."""

    def __post_init__(self) -> None:
        """Raises ConfigError for values that make no audit."""
        if self.target < 1 or self.other < 0 or self.implicit < 1 or self.batch_size < 1:
            raise ConfigError(
                "an audit needs at least one target picture, one implicit picture and a batch of at least one"
            )
        if self.calibration < FOLDS:
            raise ConfigError(f"the audit's calibration needs at least {FOLDS} pictures, not {self.calibration}")
        for name in ("limit", "floor", "keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"the audit's {name} must lie between 0 and 1, not {getattr(self, name)}")
        if not (1 <= self.steps <= MAX_STEPS and 0 <= self.guidance_scale <= MAX_GUIDANCE and self.seed >= 0):
            raise ConfigError(
                f"an audit draws in 1 to {MAX_STEPS} steps at guidance 0 to {MAX_GUIDANCE:g} from a seed from 0, "
                f"not {self.steps}, {self.guidance_scale}, {self.seed}"
            )
        check_count(self.covered, self.target, "audit: target")
        check_count(self.covered, self.implicit, "audit: implicit")

    @property
    def covered(self) -> Space:
        """The space of settings that the audit covers. Raises ConfigError if it leaves out the audit's own values."""
        return self.space.around(self.steps, self.guidance_scale)


@dataclass(frozen=True)
class AuditResult:
    """What an audit measured on one subject and one concept, and the pictures. `drawn` is always measured.

    `target_images` are those of the model's own size.
    """

    concept: str
    measurements: tuple[Measurement, ...]
    prompts: str
    """The digest of the prompts."""
    space: Space
    """The space of settings from which the pictures that call for the concept have theirs."""
    target_images: Images = field(repr=False)
    other_images: Images = field(repr=False)

    @property
    def drawn(self) -> Measurement:
        """The share of target pictures that show the concept, with its one-sided 95 % bound as `high`."""
        found = find(self.measurements, DRAWN)
        assert found is not None, "every audit measures `drawn`"
        return found

    def to_dict(self) -> dict[str, Any]:
        """The concept and the measurements as plain values for JSON, without the pictures."""
        return {"concept": self.concept, "measurements": plain(self.measurements)}


def run_audit(
    components: Components,
    concept: Concept,
    prompts: AuditPrompts,
    detector: Detector,
    settings: AuditSettings,
    *,
    subject: str = "",
    runs: Mapping[str, Any] | None = None,
    metrics: Iterable[Metric] = (),
    shared: SharedPictures | None = None,
    on_images: Callable[[int], None] | None = None,
) -> AuditResult:
    """Draws all prompts, asks the detector and then each metric.

    `subject` is the name in the measurements' protocol, and `runs` enters its settings: precision, backend, provider.
    `shared` keeps the pictures of `prompts.other` for audits of other concepts by the same components. `on_images` is
    told how many more pictures are done. Raises ConfigError for prompts that show nothing or that may not be drawn, see
    `AuditPrompts.check`, and EngineError if all prompts are one to the engine.
    """
    prompts.check(concept)
    check_prompts_differ(components)
    space, point = settings.covered, Space.point(settings.steps, settings.guidance_scale)
    calibration = calibration_of(detector)
    reading = {"threshold": calibration.threshold} if calibration else {}
    shares: list[Measurement] = []
    pictures: dict[str, Drawn] = {}
    for name, texts, seed, covered in (
        (DRAWN, prompts.target, settings.seed, space),
        (IMPLICIT, prompts.implicit, settings.seed + _IMPLICIT_SEED, space),
        (ELSEWHERE, prompts.other, settings.seed + _OTHER_SEED, point),
    ):
        groups = plan_pictures(covered, settings.steps, settings.guidance_scale, len(texts), seed)
        drawn = draw_pictures(
            components,
            texts,
            seed,
            groups,
            batch_size=settings.batch_size,
            shared=shared if name == ELSEWHERE else None,
            on_images=on_images,
        )
        pictures[name] = own_size(drawn)
        if drawn:
            way = _way(settings, covered, pictures[name].images, runs or {})
            protocol = Protocol(subject=subject, detector=detector.name, settings=way | reading)
            shares.append(_shown(name, detected(detector, concept, drawn), seed, protocol, calibration))
    target, other = pictures[DRAWN], pictures[ELSEWHERE].images
    seen = AuditPictures(concept, prompts.of_targets(target.places), target.images, other)
    way = _way(settings, space, target.images, runs or {})
    measured = [_completed(entry, subject, way) for metric in metrics for entry in metric(seen)]
    return AuditResult(concept.name, (*shares, *measured), prompts.digest, space, target.images, other)


def _way(settings: AuditSettings, space: Space, images: Images, runs: Mapping[str, Any]) -> dict[str, Any]:
    """How pictures were drawn, for a protocol; it names no `space` if all were drawn with the audit's own values.

    The space is that of the pictures that call for the concept. All others have the audit's own values.
    """
    own = {"steps": settings.steps, "guidance_scale": settings.guidance_scale, "size": list(images.shape[1:3])}
    return {**own, **({} if space.is_point else {"space": plain(space)}), **runs}


def _shown(
    name: str, found: NDArray[np.bool_], seed: int, protocol: Protocol, calibration: Calibration | None
) -> Measurement:
    """The share of pictures in which a concept was found, with its bound; picture i was drawn from `seed` + i.

    The bound of a calibrated detector allows for the pictures that it misses.
    """
    shown, count = int(np.sum(found)), len(found)
    high = calibration.bound(shown, count) if calibration else upper_bound(shown, count)
    return Measurement(
        name=name,
        value=shown / count,
        unit="share",
        high=high,
        interval=CARRIED if calibration else BOUND,
        count=count,
        seeds=(seed, seed + count - 1),
        protocol=protocol,
    )


def _completed(measured: Measurement, subject: str, drawing: dict[str, Any]) -> Measurement:
    """A metric's measurement with the subject and the way of drawing in its protocol."""
    settings = {**drawing, **measured.protocol.settings}
    protocol = msgspec.structs.replace(measured.protocol, subject=subject, settings=settings)
    return msgspec.structs.replace(measured, protocol=protocol)
