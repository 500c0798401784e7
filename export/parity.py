"""Parity: engines against a reference of the same model, component by component and image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, ExportError, PruneguardError
from pruneguard.measurement import Measurement, Protocol, Unit
from pruneguard.runtime.engines.backend import COMPONENTS
from pruneguard.runtime.engines.engine import Components
from pruneguard.runtime.sampling.request import check_guidance, check_steps
from pruneguard.runtime.sampling.sampler import draw
from pruneguard.runtime.sampling.settings import SamplerSettings

from .agreement import Agreement, ParityLimits, measure, psnr
from .cases import Calls, Case, Recorder, cases_of, count_cases

Progress = Callable[[str, int, int], None]

DEFAULT_PROMPTS = ("a photograph of a cat on a chair", "a painting of a house by a lake")
OBLONG_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class ParitySettings:
    """What is compared: `timesteps` calls of one guided sampling of `steps` steps, at the sizes in `batches` in turn;
    and the images of `images` seeds. Raises ConfigError."""

    steps: int = 25
    guidance_scale: float = 7.5
    images: int = 2
    seed: int = 0
    timesteps: int = 6
    batches: tuple[int, ...] = (1, 2, 3)
    limits: ParityLimits = field(default_factory=ParityLimits)

    def __post_init__(self) -> None:
        check_steps(self.steps, name="parity steps", error=ConfigError)
        if check_guidance(self.guidance_scale, name="parity guidance_scale", error=ConfigError) == 1:
            raise ConfigError("parity guidance_scale must not be 1: both halves of a guided call are compared")
        for name in ("images", "timesteps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"parity {name} must be at least 1, not {getattr(self, name)!r}")
        if not self.batches or min(self.batches) < 1:
            raise ConfigError(f"parity batches must be whole numbers from 1, not {self.batches!r}")

    def count_units(self, sampler: SamplerSettings) -> int:
        """The total that `check_parity` reports: UNet calls of the samplings, and cases."""
        calls, oblong = (len(sampler.build_solver(steps).timesteps) for steps in (self.steps, OBLONG_STEPS))
        return 2 * calls + oblong + count_cases(timesteps=self.timesteps, calls=calls, batches=self.batches)


@dataclass(frozen=True)
class ParityReport:
    """What was measured, within the limits; `psnr_db` has one entry for each of the `prompts`."""

    agreements: tuple[Agreement, ...]
    psnr_db: tuple[float, ...]
    prompts: tuple[str, ...]
    settings: ParitySettings

    def measurements(self) -> tuple[Measurement, ...]:
        """The worst values of each component over its cases, such as `parity/unet/relative_l2`, and of the images."""
        protocol = Protocol(settings={"steps": self.settings.steps, "guidance_scale": self.settings.guidance_scale})
        found = [
            Measurement(name=f"parity/{component}/{name}", value=value, count=cases, protocol=protocol)
            for component in COMPONENTS
            for cases, worst in [self._worst(component)]
            for name, value in worst.items()
        ]
        unit: Unit = "dB"
        seeds = (self.settings.seed, self.settings.seed + len(self.psnr_db) - 1)
        images = Measurement(
            name="parity/images/psnr",
            value=min(self.psnr_db),
            unit=unit,
            count=len(self.psnr_db),
            seeds=seeds,
            protocol=protocol,
        )
        return (*found, images)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values, with every case."""
        worst = {name: self._worst(name) for name in COMPONENTS}
        return {
            "settings": dataclasses.asdict(self.settings),
            "components": {name: {"cases": cases, **values} for name, (cases, values) in worst.items()},
            "images": {"prompts": list(self.prompts), "psnr_db": list(self.psnr_db)},
            "cases": [dataclasses.asdict(agreement) for agreement in self.agreements],
        }

    def _worst(self, component: str) -> tuple[int, dict[str, float]]:
        own = [agreement for agreement in self.agreements if agreement.component == component]
        return len(own), {
            "max_abs": max(agreement.max_abs for agreement in own),
            "relative_l2": max(agreement.relative_l2 for agreement in own),
            "cosine": min(agreement.cosine for agreement in own),
        }


def check_parity(
    reference: Components,
    engines: Components,
    *,
    prompts: Sequence[str] | None = None,
    settings: ParitySettings | None = None,
    on_progress: Progress | None = None,
) -> ParityReport:
    """Compares engines with a reference on the inputs met in sampling, then on whole images of the same seeds.

    The reference samples `prompts`, and again briefly at an oblong size; each engine gets the inputs that the
    component got there. `on_progress(stage, done, total)` is called after every UNet call and case, with the stage
    "parity" and then "images". Raises ExportError, which names the component and the number that exceeds its limit.
    """
    settings = settings or ParitySettings()
    texts = tuple(islice(cycle(prompts or DEFAULT_PROMPTS), settings.images))
    meter = _Meter(settings.count_units(reference.sampler), on_progress)
    with _blaming("the reference"):
        images, native = _record(reference, texts, settings, meter)
        brief = dataclasses.replace(settings, steps=OBLONG_STEPS)
        _, oblong = _record(reference, texts, brief, meter, _oblong(reference.sampler))
    agreements: list[Agreement] = []
    for case in cases_of(native, oblong, timesteps=settings.timesteps, batches=settings.batches):
        agreements += _compare(case, reference, engines, settings.limits)
        meter.advance("parity")
    with _blaming("the engines"):
        drawn = _draw(engines, texts, settings, lambda *_: meter.advance("images"))
    ratios = tuple(psnr(one, other) for one, other in zip(images, drawn, strict=True))
    if (worst := min(ratios)) < (floor := settings.limits.psnr_db):
        raise ExportError(
            f"images after {settings.steps} steps: PSNR {worst:.1f} dB of the engines against the reference is below "
            f"{floor:.1f} dB; the engines are refused"
        )
    return ParityReport(tuple(agreements), ratios, texts, settings)


class _Meter:
    """Counts units of work and reports them."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total, self._done, self._on_progress = total, 0, on_progress

    def advance(self, stage: str) -> None:
        self._done += 1
        if self._on_progress is not None:
            self._on_progress(stage, self._done, self._total)


def _record(
    reference: Components,
    prompts: Sequence[str],
    settings: ParitySettings,
    meter: _Meter,
    size: tuple[int, int] | None = None,
) -> tuple[NDArray[np.uint8], Calls]:
    """The images of the reference and the calls of its components."""
    recorders = {name: Recorder(getattr(reference, name)) for name in COMPONENTS}
    engines: dict[str, Any] = dict(recorders)
    recording = dataclasses.replace(reference, **engines)
    images = _draw(recording, prompts, settings, lambda *_: meter.advance("parity"), size)
    return images, {name: recorder.calls for name, recorder in recorders.items()}


def _draw(
    components: Components,
    prompts: Sequence[str],
    settings: ParitySettings,
    on_step: Callable[[int, int, float], None],
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    height, width = size or (None, None)
    return draw(
        components,
        prompts,
        range(settings.seed, settings.seed + len(prompts)),
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        height=height,
        width=width,
        batch_size=len(prompts),
        on_step=on_step,
    )


def _oblong(sampler: SamplerSettings) -> tuple[int, int]:
    """A second size in pixels: the nearest multiple of 8 latents below the model's own (at least 8), by one above."""
    side = max(8, sampler.latent_size // 8 * 8)
    return (side + 8) * sampler.vae_scale, side * sampler.vae_scale


def _compare(case: Case, reference: Components, engines: Components, limits: ParityLimits) -> Iterator[Agreement]:
    """Raises ExportError for the first of the reference's outputs that exceeds a limit, or that the engine lacks."""
    with _blaming("the reference"):
        expected = getattr(reference, case.component).run(case.inputs)
    with _blaming("the engines"):
        found = getattr(engines, case.component).run(case.inputs)
    for name, values in expected.items():
        if name not in found:
            raise ExportError(f"{case.component} has no output {name}; the engines are refused")
        agreement = measure(case.component, name, case.text, values, found[name])
        if complaint := agreement.complaint(limits):
            raise ExportError(f"{complaint}; the engines are refused")
        yield agreement


@contextmanager
def _blaming(side: str) -> Iterator[None]:
    """Errors of the runtime become an ExportError that says on which side they occurred."""
    try:
        yield
    except ExportError:
        raise
    except PruneguardError as error:
        raise ExportError(f"{side}: {error}") from error
