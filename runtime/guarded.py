"""The sampler that people embed: a verified bundle behind guards."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pruneguard.bundle import Bundle
from pruneguard.errors import ConfigError, LineageError, RequestError

from .engines.engine import Components
from .engines.onnx_engine import onnx_components
from .guards.guard import Guard, MinorsGuard, Verdict, check_images, check_prompts
from .sampling.request import MAX_BATCH, MAX_SEED, Guidance, Request, make_request
from .sampling.sampler import IsCancelled, OnStep, decode_latents, latent_batches

if TYPE_CHECKING:
    import PIL.Image


MAX_GUIDANCE_RATIO = 2  # to the sampler's own scale, at which audits draw


@dataclass(frozen=True)
class Result:
    """Images with all that made them; the tuples have one entry for each image.

    `verdicts` holds what each guard said of the prompt, then of the image. `truncated` counts the prompt's tokens that
    did not fit into the text encoder: what they asked for was not drawn.
    """

    images: tuple[PIL.Image.Image, ...]
    seeds: tuple[int, ...]
    verdicts: tuple[tuple[Verdict, ...], ...]
    truncated: tuple[int, ...]


class GuardedSampler:
    """Draws what its guards allow. It keeps no state of a request: threads may share one sampler.

    `guards` come after MinorsGuard, which is always on. Audits are `from_bundle`'s concern: whoever gives `components`
    vouches for them. `batch_size` is the images drawn together.

    What audits do not measure is off, for it can lead back to what was suppressed: fewer steps than the sampler's own,
    guidance beyond twice its own, and negative prompts. `allow_unmeasured` is the consent to draw so all the same;
    negative prompts are not checked by guards, but where the guidance scale is below 1 and they say what to draw.
    Raises ConfigError for a wrong `batch_size`.
    """

    def __init__(
        self,
        components: Components,
        *,
        guards: Sequence[Guard] = (),
        batch_size: int = 4,
        allow_unmeasured: bool = False,
    ) -> None:
        if type(batch_size) is not int or not 1 <= batch_size <= MAX_BATCH:
            raise ConfigError(f"batch_size must be a whole number from 1 to {MAX_BATCH}, not {batch_size!r}")
        self.components = components
        self.guards: tuple[Guard, ...] = (MinorsGuard(), *guards)
        self._batch_size = batch_size
        self._allow_unmeasured = allow_unmeasured

    @classmethod
    def from_bundle(
        cls,
        path: Path | str,
        *,
        policy: Sequence[str] | None = None,
        limit: float = 1.0,
        allow_unaudited: bool = False,
        threads: int | None = None,
        guards: Sequence[Guard] = (),
        providers: Sequence[str] = ("CPUExecutionProvider",),
        digest: str | None = None,
        batch_size: int = 4,
        allow_unmeasured: bool = False,
    ) -> GuardedSampler:
        """Opens a bundle, verifies every file, requires its audits, and loads its ONNX engines.

        `policy` names concepts whose suppression the caller requires beside those of the bundle's own policy. Where
        neither names one nothing was audited, and `allow_unaudited` is the consent to serve that; it excuses no audit
        that is asked for. `limit` is the largest share of pictures in which an audit may have seen a concept, where the
        bundle's own is laxer. `allow_unmeasured` is the class's, and given where nothing is suppressed. `digest` is the
        expected SHA-256 of `bundle.json`, which pins all the rest. `threads` is for each engine's operators.
        Raises BundleError, LineageError and ConfigError.
        """
        if isinstance(policy, str):
            raise ConfigError("policy must be a list of concept names")
        if not 0 <= limit <= 1:
            raise ConfigError(f"limit must lie between 0 and 1, not {limit!r}")
        bundle = Bundle.open(path, digest=digest)
        seal = bundle.verify()
        required = tuple(policy or ())
        bundle.require_audits("onnx", required, limit=limit)
        suppressed = bundle.manifest.policy_concepts or required
        if not (allow_unaudited or suppressed):
            raise LineageError(
                f"{bundle.path}: its policy names no concept, so nothing was audited; suppress some with `pruneguard"
                " train --concepts …`, or accept that with allow_unaudited=True (generate --allow-unaudited)"
            )
        components = onnx_components(bundle, threads=threads, providers=providers)
        seal.check()
        return cls(
            components, guards=guards, batch_size=batch_size, allow_unmeasured=allow_unmeasured or not suppressed
        )

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        seed: int | Sequence[int] | None = None,
        steps: int | None = None,
        guidance_scale: float | Sequence[float] | None = None,
        negative_prompt: str | Sequence[str] = "",
        height: int | None = None,
        width: int | None = None,
        cfg: Guidance = "batched",
        on_step: OnStep | None = None,
        cancelled: IsCancelled | None = None,
    ) -> Result:
        """One image for each prompt. A single seed counts up over the prompts; None draws seeds, told by the result.

        A refused prompt or image refuses the whole request. Raises RequestError, and GuardRefusal or GuardFailure for
        a prompt, before any engine runs; later both for an image, Cancelled or EngineError. Never returns a part.
        """
        from PIL import Image

        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        request = make_request(
            self.components.sampler,
            prompts=prompts,
            seeds=_seeds(seed, len(prompts)),
            steps=steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            batch_size=self._batch_size,
            cfg=cfg,
        )
        self._check_measured(request)
        said = check_prompts(self.guards, dict(enumerate(request.prompts)))
        drawn = {i: text for i, text in enumerate(request.negatives) if request.guidance[i] < 1}
        check_prompts(self.guards, drawn, "negative prompt")
        truncated = self.components.tokenizer(request.prompts).truncated
        batches = latent_batches(self.components, request, on_step, cancelled)
        pixels = np.concatenate([decode_latents(self.components, latents, cancelled) for latents in batches])
        seen = check_images(self.guards, list(pixels))
        return Result(
            images=tuple(Image.fromarray(image) for image in pixels),
            seeds=request.seeds,
            verdicts=tuple((*first, *second) for first, second in zip(said, seen, strict=True)),
            truncated=truncated,
        )

    def _check_measured(self, request: Request) -> None:
        """RequestError for what audits say nothing of."""
        if self._allow_unmeasured:
            return
        own = self.components.sampler
        remedy = "; allow_unmeasured=True (generate --allow-unmeasured) draws so all the same"
        if request.steps < own.steps:
            raise RequestError(
                f"steps must be at least {own.steps} here: suppression was measured with that many{remedy}"
            )
        if max(request.guidance) > MAX_GUIDANCE_RATIO * own.guidance_scale:
            raise RequestError(
                f"guidance_scale must be at most {MAX_GUIDANCE_RATIO * own.guidance_scale:g} here: suppression was "
                f"measured at {own.guidance_scale:g}{remedy}"
            )
        if any(request.negatives):
            raise RequestError(f"negative_prompt must be empty: suppression was measured without one{remedy}")

    def describe(self) -> dict[str, Any]:
        """The engines and guards, for reports."""
        return {"engines": self.components.describe(), "guards": [guard.name for guard in self.guards]}


def _seeds(seed: int | Sequence[int] | None, count: int) -> Sequence[int]:
    if seed is None:
        return [secrets.randbelow(2**32) for _ in range(count)]
    if isinstance(seed, int) and not isinstance(seed, bool):
        if seed + count - 1 > MAX_SEED:
            raise RequestError(f"seed must be at most {MAX_SEED - count + 1} for {count} prompts, not {seed}")
        return range(seed, seed + count)
    if isinstance(seed, bool) or not isinstance(seed, Sequence):
        raise RequestError(f"seed must be a whole number or a list of them, not {seed!r}")
    return seed
