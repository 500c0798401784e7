"""The teacher's latents of a concept. They are drawn once, kept beside the run, and never decoded to pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pruneguard.concepts import Concept
from pruneguard.data.synthetic import DrawSettings, teacher_latents
from pruneguard.diffusion.counters import counter_generator
from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import ConceptPool
from pruneguard.errors import DataError
from pruneguard.runs.aside import written_aside
from pruneguard.runs.digest import digest_of, fingerprint
from pruneguard.runs.progress import Advance, OnProgress, silent
from pruneguard.text.nearest import nearest_prompts

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


def build_pool(
    pipeline: Pipeline,
    concept: Concept,
    settings: ErasureSettings,
    seed: int,
    folder: Path,
    on_progress: OnProgress = silent,
) -> ConceptPool:
    """The concept's pool for the settings' source.

    `folder` keeps the latents under a digest of all they depend on. Raises DataError if they cannot be read or written.
    """
    made_from = {
        "concept": asdict(concept),
        "settings": settings.drawn_by(),
        "kind": (settings.source.kind, settings.source.others),
        "seed": seed,
        "scheduler": dict(pipeline.scheduler.config),
        "models": [fingerprint(part) for part in (pipeline.unet, pipeline.text_encoder)],
    }
    kept = folder / f"concept-{concept.name}-{digest_of(made_from)[:16]}"
    if kept.exists():
        tensors = _read(kept)
    else:
        tensors = _draw(pipeline, concept, settings, seed, on_progress)
        _write(kept, tensors)
    text, anchor_text = (prompt_states(pipeline, prompts) for prompts in (concept.prompts, concept.anchors))
    return ConceptPool(
        name=concept.name,
        text=text,
        anchor_text=anchor_text,
        latents=tensors["latents"],
        prompt_of=tensors["prompt_of"],
        timesteps=tensors.get("timesteps"),
        anchor_latents=tensors.get("anchor_latents"),
        implicit_text=prompt_states(pipeline, concept.implicit_prompts) if concept.implicit_prompts else None,
        implicit_of=_unnamed(concept),
    )


def _unnamed(concept: Concept) -> tuple[tuple[int, ...], ...]:
    """For each of the concept's prompts the implicit prompts that are nearest to it."""
    if not concept.implicit_prompts:
        return ()
    return tuple(tuple(nearest_prompts(prompt, concept.implicit_prompts)) for prompt in concept.prompts)


def prompt_states(pipeline: Pipeline, prompts: Sequence[str]) -> Tensor:
    """Text states (P, L, D), float32 on the CPU."""
    return torch.cat([pipeline.encode_text(part).float().cpu() for part in _parts(prompts, 32)])


Item = TypeVar("Item")
_FILE = "latents.safetensors"


def evenly(count: int, of: int) -> list[int]:
    """`count` places in a list of length `of`: all in turn, or evenly spaced ones if `count` is less."""
    return [i % of if count >= of else i * of // count for i in range(count)]


def _draw(
    pipeline: Pipeline, concept: Concept, settings: ErasureSettings, seed: int, on_progress: OnProgress
) -> dict[str, Tensor]:
    chosen = evenly(settings.images, len(concept.prompts))
    phase = f"draw {concept.name}"
    if settings.source.kind == "partial":
        return _draw_partial(pipeline, concept, settings, chosen, seed, on_progress)
    first = int(torch.randint(2**31, (), generator=counter_generator(seed, "concept", concept.name)))
    draw = DrawSettings(steps=settings.steps, guidance_scale=settings.guidance_scale, seed=first)
    with_anchors = settings.source.kind == "mixed" and settings.source.others == "anchors"
    wanted = {"latents": concept.prompts} | ({"anchor_latents": concept.anchors} if with_anchors else {})
    drawn: dict[str, Tensor] = {"prompt_of": torch.tensor(chosen)}
    done = 0
    for name, prompts in wanted.items():
        parts = []
        for part in teacher_latents(pipeline, [prompts[i] for i in chosen], draw):
            parts.append(part)
            done += len(part)
            on_progress(Advance(phase, done, len(wanted) * len(chosen)))
        drawn[name] = torch.cat(parts)
    return drawn


def _draw_partial(
    pipeline: Pipeline,
    concept: Concept,
    settings: ErasureSettings,
    chosen: Sequence[int],
    seed: int,
    on_progress: OnProgress,
    batch_size: int = 8,
) -> dict[str, Tensor]:
    """States of DDIM trajectories (eta 0) under the concept's prompts; `partial_states` steps of each are kept.

    Source: ESD denoises from fresh noise to a uniform step with guidance 3. This uses DDIM because PNDM visits one
    timestep twice.
    """
    generator = counter_generator(seed, "partial", concept.name)
    states: list[Tensor] = []
    timesteps: list[int] = []
    prompt_of: list[int] = []
    for part in _parts(chosen, batch_size):
        kept = torch.stack([torch.randperm(settings.partial_steps, generator=generator) for _ in part])
        kept = kept[:, : settings.partial_states]
        shape = (len(part), pipeline.latent_channels, pipeline.latent_size, pipeline.latent_size)
        noise = torch.randn(shape, generator=generator)
        for step, (t, x_t) in enumerate(_trajectory(pipeline, [concept.prompts[i] for i in part], noise, settings)):
            rows = (kept == step).any(1).nonzero().flatten().tolist()
            states += [x_t[row] for row in rows]
            timesteps += [t] * len(rows)
            prompt_of += [part[row] for row in rows]
        on_progress(Advance(f"draw {concept.name}", len(states), len(chosen) * settings.partial_states))
    return {"latents": torch.stack(states), "timesteps": torch.tensor(timesteps), "prompt_of": torch.tensor(prompt_of)}


@torch.no_grad()
def _trajectory(
    pipeline: Pipeline, prompts: Sequence[str], noise: Tensor, settings: ErasureSettings
) -> Iterator[tuple[int, Tensor]]:
    """(t, x_t) before every step of a guided DDIM run from `noise`; x_t (B, C, h, w) float32 on the CPU."""
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    scheduler.set_timesteps(settings.partial_steps)
    device = next(pipeline.unet.parameters()).device
    text = pipeline.encode_text([*prompts, *[""] * len(prompts)])
    x_t = noise.to(device, text.dtype)
    for t in scheduler.timesteps.tolist():
        yield t, x_t.float().cpu()
        predicted = pipeline.unet(x_t.repeat(2, 1, 1, 1), t, encoder_hidden_states=text, return_dict=False)[0]
        cond, uncond = predicted.chunk(2)
        guided = uncond + settings.partial_guidance_scale * (cond - uncond)
        x_t = scheduler.step(guided, t, x_t, return_dict=False)[0]


def _parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _read(folder: Path) -> dict[str, Tensor]:
    try:
        return {name: tensor.clone() for name, tensor in load_file(folder / _FILE).items()}
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"concept latents {folder} cannot be read ({error}); delete the folder to draw them again"
        ) from None


def _write(folder: Path, tensors: dict[str, Tensor]) -> None:
    with written_aside(folder, DataError, "concept latents") as aside:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside / _FILE)
