"""Parity: engines against the pipeline that they were made from, component by component and image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruneguard.errors import ConfigError, ExportError, PruneguardError
from pruneguard.runtime.engines.engine import Components, Engine
from pruneguard.runtime.engines.onnx_engine import onnx_components
from pruneguard.runtime.engines.torch_engine import torch_components
from pruneguard.runtime.sampling.sampler import draw

from .agreement import Agreement, ParityLimits, measure, psnr
from .components import Component, components_of

if TYPE_CHECKING:
    from pruneguard.models import Pipeline

Arrays = dict[str, NDArray[Any]]

DEFAULT_PROMPTS = ("a photograph of a cat on a chair", "a painting of a house by a lake")
ENGINES = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True, kw_only=True)
class ParitySettings:
    """What is compared: `timesteps` points of one sampling of `steps` steps, in turn at each of the `batches`; and the
    images of `images` seeds."""

    steps: int = 25
    guidance_scale: float = 7.5
    images: int = 2
    seed: int = 0
    timesteps: int = 6
    batches: tuple[int, ...] = (1, 2, 3)
    limits: ParityLimits = field(default_factory=ParityLimits)

    def __post_init__(self) -> None:
        for name in ("steps", "images", "timesteps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"parity {name} must be at least 1, not {getattr(self, name)!r}")
        if not self.batches or min(self.batches) < 1:
            raise ConfigError(f"parity batches must be whole numbers from 1, not {self.batches!r}")


@dataclass(frozen=True)
class ParityReport:
    """What was measured; `check` is what makes a gate of it."""

    agreements: tuple[Agreement, ...]
    psnr_db: tuple[float, ...]
    prompts: tuple[str, ...]
    settings: ParitySettings

    def to_dict(self) -> dict[str, Any]:
        return {
            "settings": dataclasses.asdict(self.settings),
            "components": {name: self._worst(name) for name in ENGINES},
            "images": {"prompts": list(self.prompts), "psnr_db": list(self.psnr_db)},
            "cases": [dataclasses.asdict(agreement) for agreement in self.agreements],
        }

    def _worst(self, component: str) -> dict[str, float]:
        own = [agreement for agreement in self.agreements if agreement.component == component]
        return {
            "cases": len(own),
            "max_abs": max(agreement.max_abs for agreement in own),
            "relative_l2": max(agreement.relative_l2 for agreement in own),
            "cosine": min(agreement.cosine for agreement in own),
        }


class Recorder:
    """An engine that keeps a copy of the inputs of each call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: list[Arrays] = []

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append({name: np.array(value) for name, value in inputs.items()})
        return self.engine.run(inputs)

    def describe(self) -> dict[str, Any]:
        return self.engine.describe()


def check_parity(
    pipeline: Pipeline,
    folder: Path,
    *,
    prompts: Sequence[str] | None = None,
    settings: ParitySettings | None = None,
    on_images: Callable[[], None] | None = None,
) -> ParityReport:
    """Compares the engines in `folder` with `pipeline` on inputs met in sampling, then whole images of the same seeds.

    The torch side samples `prompts` once, and again briefly at a second, oblong size; each engine gets what the
    component got there. `on_images` is called when the components have passed. Raises ExportError naming the component
    and the number that is out of its limit.
    """
    settings = settings or ParitySettings()
    texts = tuple(prompts or DEFAULT_PROMPTS)
    texts = tuple(text for text, _ in zip(cycle(texts), range(settings.images), strict=False))
    with _as_export_error("the source pipeline"):
        source = torch_components(pipeline)
        images, recordings = _record(source, texts, settings)
        _, oblong = _record(source, texts, dataclasses.replace(settings, steps=2), size=_oblong(source))
    with _as_export_error("the exported engines"):
        engines = onnx_components(folder)
        agreements = tuple(
            agreement
            for component in components_of(pipeline)
            for case, inputs in _cases(component.name, recordings, oblong, settings)
            for agreement in _compare(component, case, inputs, getattr(engines, component.name), settings.limits)
        )
        if on_images is not None:
            on_images()
        drawn = _draw(engines, texts, settings)
    ratios = tuple(psnr(one, other) for one, other in zip(images, drawn, strict=True))
    if (worst := min(ratios)) < (floor := settings.limits.psnr_db):
        raise ExportError(
            f"images after {settings.steps} steps: PSNR {worst:.1f} dB of engine against source is below "
            f"{floor:.1f} dB; nothing was exported"
        )
    return ParityReport(agreements, ratios, texts, settings)


def _record(
    source: Components, prompts: Sequence[str], settings: ParitySettings, size: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], dict[str, list[Arrays]]]:
    recorders = {name: Recorder(getattr(source, name)) for name in ENGINES}
    engines: dict[str, Any] = dict(recorders)
    images = _draw(dataclasses.replace(source, **engines), prompts, settings, size)
    return images, {name: recorder.calls for name, recorder in recorders.items()}


def _draw(
    components: Components, prompts: Sequence[str], settings: ParitySettings, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    height, width = size or (None, None)
    seeds = range(settings.seed, settings.seed + len(prompts))
    return draw(
        components,
        prompts,
        seeds,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        height=height,
        width=width,
        batch_size=len(prompts),
    )


def _oblong(components: Components) -> tuple[int, int]:
    """A second size in pixels: the nearest multiple of 8 latents below the model's own (at least 8), by one above."""
    side = max(8, components.sampler.latent_size // 8 * 8)
    return (side + 8) * components.sampler.vae_scale, side * components.sampler.vae_scale


def _cases(
    name: str, recordings: dict[str, list[Arrays]], oblong: dict[str, list[Arrays]], settings: ParitySettings
) -> Iterator[tuple[str, Arrays]]:
    """What a component met, described: the UNet at spread timesteps, each next one at the next batch size."""
    if name == "unet":
        calls = recordings[name]
        places = np.unique(np.linspace(0, len(calls) - 1, settings.timesteps).round().astype(int))
        met = [calls[place] for place in places] + [oblong[name][0], oblong[name][-1]]
        batches = cycle(settings.batches)
        for inputs in met:
            yield _case(_alternating(inputs), next(batches))
        return
    # Text states of all prompts, the empty one too; latents of the last step at both sizes.
    met = [_joined(recordings[name])] if name == "text_encoder" else [recordings[name][0], oblong[name][0]]
    for inputs in met:
        for batch in settings.batches:
            yield _case(inputs, batch)


def _alternating(inputs: Arrays) -> Arrays:
    """A guided call's rows, conditional and unconditional in turn, so that a batch of one is conditional too."""

    def order(value: NDArray[Any]) -> NDArray[Any]:
        half = len(value) // 2
        return np.stack([value[half:], value[:half]], axis=1).reshape(value.shape)

    return {key: order(value) if value.ndim else value for key, value in inputs.items()}


def _joined(calls: Sequence[Arrays]) -> Arrays:
    return {key: np.concatenate([call[key] for call in calls]) for key in calls[0]}


def _case(inputs: Arrays, batch: int) -> tuple[str, Arrays]:
    """The first `batch` rows of `inputs`, repeated from the start where there are fewer."""
    rows = {key: np.resize(value, (batch, *value.shape[1:])) if value.ndim else value for key, value in inputs.items()}
    parts = [f"batch {batch}"]
    if "timestep" in inputs:
        parts.append(f"timestep {int(inputs['timestep'])}")
    latents = next((value for value in inputs.values() if value.ndim == 4), None)
    if latents is not None:
        parts.append(f"latents {latents.shape[2]}x{latents.shape[3]}")
    return ", ".join(parts), rows


def _compare(component: Component, case: str, inputs: Arrays, engine: Engine, limits: ParityLimits) -> list[Agreement]:
    """Raises ExportError for the first output that is out of the limits."""
    with torch.inference_mode():
        result = component.module(*(torch.from_numpy(inputs[port.name]) for port in component.inputs))
    references = result if isinstance(result, tuple) else (result,)
    candidates = engine.run(inputs)
    agreements = []
    for port, reference in zip(component.outputs, references, strict=True):
        agreement = measure(component.name, port.name, case, reference.numpy(), candidates[port.name])
        if complaint := agreement.complaint(limits):
            raise ExportError(f"{complaint}; nothing was exported")
        agreements.append(agreement)
    return agreements


class _as_export_error:  # noqa: N801  reads as a statement
    """Errors of the runtime become an ExportError that says which side they came from."""

    def __init__(self, side: str) -> None:
        self.side = side

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, PruneguardError) and not isinstance(error, ExportError):
            raise ExportError(f"{self.side}: {error}") from error
