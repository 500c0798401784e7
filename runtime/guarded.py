"""The sampler to embed: the engines of a verified bundle behind guards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from pruneguard.bundle import Bundle, Space
from pruneguard.errors import ConfigError, GuardFailure, LineageError, PruneguardError, RequestError, shown

from .engines.bundled import choose_engine, engine_components
from .engines.deadline import DEADLINE_S
from .engines.engine import Components, EngineError
from .guards.guard import Guard, GuardRefusal, MinorsGuard, Verdict, check_guards, check_image, check_prompt
from .measured import check_measured, measured_space, own_space
from .outcomes import Drawn, Outcome, outcome_of
from .sampling.memory import STABLE_DIFFUSION, check_memory, memory_budget
from .sampling.request import (
    MAX_BATCH,
    Request,
    RequestOptions,
    check_callbacks,
    make_request,
    read_prompts,
    spread_seeds,
)
from .sampling.sampler import IsCancelled, OnStep, draw_each, stop_if

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Result:
    """The images of a request that was drawn as a whole; each tuple has one entry for each image, as in `Drawn`."""

    images: tuple[PIL.Image.Image, ...]
    seeds: tuple[int, ...]
    verdicts: tuple[tuple[Verdict, ...], ...]
    truncated: tuple[int, ...]


class GuardedSampler:
    """Draws images that its guards allow. It keeps no state of a request, so threads may share one sampler.

    MinorsGuard is always on, before `guards`. Only `from_bundle` checks audits; whoever gives `components` answers for
    them. `batch_size` images are drawn together. `engine` is the name of the engine, for reports.

    `measured` is the space of settings that audits measured, by default the sampler's own steps, guidance scale and
    size, without a negative prompt. Requests outside it are refused unless `allow_unmeasured`. Guards check a negative
    prompt only if the guidance scale is below 1, because only then the image is drawn towards it.

    A request that needs more memory than `memory_mib` is refused; by default that is what is free on this machine when
    the sampler is made. A program that draws several requests at once divides its memory among them. Raises ConfigError
    for a wrong `batch_size` or `memory_mib`.
    """

    def __init__(
        self,
        components: Components,
        *,
        guards: Sequence[Guard] = (),
        batch_size: int = 4,
        memory_mib: int | None = None,
        allow_unmeasured: bool = False,
        measured: Space | None = None,
        engine: str = "",
    ) -> None:
        if type(batch_size) is not int or not 1 <= batch_size <= MAX_BATCH:
            raise ConfigError(f"batch_size must be a whole number from 1 to {MAX_BATCH}, not {shown(batch_size)}")
        self.components = components
        self.engine = engine
        self.guards: tuple[Guard, ...] = (MinorsGuard(), *check_guards(guards))
        self._batch_size = batch_size
        self._budget = memory_budget(memory_mib)
        self._allow_unmeasured = allow_unmeasured
        self._measured = own_space(components.sampler) if measured is None else measured

    @classmethod
    def from_bundle(
        cls,
        path: Path | str,
        *,
        engine: str | None = None,
        policy: Sequence[str] | None = None,
        limit: float = 1.0,
        allow_unaudited: bool = False,
        threads: int | None = None,
        deadline_s: float = DEADLINE_S,
        guards: Sequence[Guard] = (),
        digest: str | None = None,
        batch_size: int = 4,
        memory_mib: int | None = None,
        allow_unmeasured: bool = False,
    ) -> GuardedSampler:
        """Opens a bundle, requires its audits, verifies every file, and loads an engine from what it verified.

        `engine` names the engine; by default `choose_engine` picks one that passed its audits and runs here. `policy`
        names concepts whose suppression the caller requires beside those of the bundle's own policy. If neither names
        a concept, nothing was audited, and only `allow_unaudited` serves the bundle; it excuses no audit that a policy
        requires. `limit` is the largest upper bound that an audit may have for a concept's rate; the bundle's own limit
        counts if it is stricter. The settings that all required audits measured need no consent. If nothing is
        suppressed, `allow_unmeasured` is on. `digest` is the expected SHA-256 of `bundle.json`, which pins all other
        files. `threads` is the number of threads inside one operator, `deadline_s` the seconds after which an engine's
        call is stopped. Raises BundleError, LineageError, AuditError, ConfigError, and EngineError for a text encoder
        that does not tell prompts apart.
        """
        _check_demands(engine, policy, limit)
        bundle = Bundle.open(path, digest=digest)
        required = tuple(policy or ())
        name = engine or choose_engine(bundle, required, limit=limit)
        bundle.require_engine(name)
        audits = bundle.require_audits(name, required, limit=limit)
        suppressed = bundle.manifest.policy.concepts or required
        if not (allow_unaudited or suppressed):
            raise LineageError(
                f"{bundle.path}: its policy names no concept, so nothing was audited; suppress some with `pruneguard"
                " train --concepts …`, or accept that with allow_unaudited=True (generate --allow-unaudited)"
            )
        components = engine_components(bundle, name, threads=threads, deadline_s=deadline_s)
        return cls(
            components,
            guards=guards,
            batch_size=batch_size,
            memory_mib=memory_mib,
            allow_unmeasured=allow_unmeasured or not suppressed,
            measured=measured_space(audits, components.sampler),
            engine=name,
        )

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        seed: int | Sequence[int] | None = None,
        on_step: OnStep | None = None,
        cancelled: IsCancelled | None = None,
        **options: Unpack[RequestOptions],
    ) -> Result:
        """One image for each prompt. A single seed counts up over the prompts; None draws seeds, told by the result.

        `RequestOptions` says what else can be asked for. A refused prompt or image refuses the whole request; `each`
        draws the others. Raises RequestError, and GuardRefusal or GuardFailure for a prompt, before any engine runs;
        later also GuardRefusal or GuardFailure for an image, Cancelled and EngineError. Never returns a part.
        """

        def fail(index: int, error: PruneguardError) -> None:
            raise error

        check_callbacks(on_step=on_step, cancelled=cancelled)
        request = self._request(prompt, seed, **options)
        drawn = self._draw(request, fail, on_step, cancelled, strict=True)
        found = [drawn[index] for index in range(len(request.prompts))]
        return Result(
            images=tuple(entry.image for entry in found),
            seeds=tuple(entry.seed for entry in found),
            verdicts=tuple(entry.verdicts for entry in found),
            truncated=tuple(entry.truncated for entry in found),
        )

    def each(
        self,
        prompt: str | Sequence[str],
        *,
        seed: int | Sequence[int] | None = None,
        on_step: OnStep | None = None,
        cancelled: IsCancelled | None = None,
        **options: Unpack[RequestOptions],
    ) -> tuple[Outcome, ...]:
        """As a call, with one outcome for each prompt: what is refused or fails does not stop the others.

        Raises RequestError for a wrong request, before any engine runs, and Cancelled.
        """
        check_callbacks(on_step=on_step, cancelled=cancelled)
        request = self._request(prompt, seed, **options)
        outcomes: dict[int, Outcome] = {}

        def fail(index: int, error: PruneguardError) -> None:
            outcomes[index] = outcome_of(error)

        outcomes |= self._draw(request, fail, on_step, cancelled, strict=False)
        return tuple(outcomes[index] for index in range(len(request.prompts)))

    def _request(
        self, prompt: str | Sequence[str], seed: int | Sequence[int] | None, **options: Unpack[RequestOptions]
    ) -> Request:
        """The checked request. Raises RequestError."""
        if unknown := sorted(options.keys() - RequestOptions.__annotations__.keys()):
            raise RequestError(
                f"{unknown[0]!r} is no option of a request; there are {', '.join(RequestOptions.__annotations__)}"
            )
        prompts = read_prompts(prompt)
        request = make_request(
            self.components.sampler,
            prompts=prompts,
            seeds=spread_seeds(seed, len(prompts)),
            batch_size=self._batch_size,
            **options,
        )
        if not self._allow_unmeasured:
            check_measured(request, self._measured, self.components.sampler)
        footprint = self.components.footprint or STABLE_DIFFUSION
        check_memory(request, footprint, self.components.sampler.vae_scale, self._budget)
        return request

    def _draw(
        self,
        request: Request,
        fail: Callable[[int, PruneguardError], None],
        on_step: OnStep | None,
        cancelled: IsCancelled | None,
        *,
        strict: bool,
    ) -> dict[int, Drawn]:
        """The images that were drawn, by their index; `fail` is told of every other one, or raises."""
        from PIL import Image

        said: dict[int, tuple[Verdict, ...]] = {}
        for index in range(len(request.prompts)):
            stop_if(cancelled)
            try:
                said[index] = self._check_texts(request, index)
            except (GuardRefusal, GuardFailure) as error:
                fail(index, error)
        truncated = self.components.tokenizer(request.prompts).truncated
        drawn: dict[int, Drawn] = {}
        for index, pixels in draw_each(self.components, request, tuple(said), on_step, cancelled, strict=strict):
            stop_if(cancelled)
            if isinstance(pixels, EngineError):
                fail(index, pixels)
                continue
            pixels.setflags(write=False)
            try:
                seen = check_image(self.guards, pixels.view(), index)
            except (GuardRefusal, GuardFailure) as error:
                fail(index, error)
                continue
            verdicts = (*said[index], *seen)
            drawn[index] = Drawn(Image.fromarray(pixels), request.seeds[index], verdicts, truncated[index])
        return drawn

    def _check_texts(self, request: Request, index: int) -> tuple[Verdict, ...]:
        """The verdicts on a prompt. Raises GuardRefusal and GuardFailure, also for a negative prompt that is drawn."""
        verdicts = check_prompt(self.guards, request.prompts[index], index)
        if request.guidance[index] < 1:
            check_prompt(self.guards, request.negatives[index], index, "negative prompt")
        return verdicts

    def describe(self) -> dict[str, Any]:
        """The engines and guards, for reports."""
        return {"engines": self.components.describe(), "guards": [guard.name for guard in self.guards]}


def _check_demands(engine: object, policy: object, limit: object) -> None:
    """Raises ConfigError for arguments of `from_bundle` that have the wrong type or range."""
    if engine is not None and not isinstance(engine, str):
        raise ConfigError(f"engine must be the name of an engine, not {shown(engine)}")
    names = policy if isinstance(policy, list | tuple | set | frozenset) else [None]
    if policy is not None and not all(isinstance(name, str) for name in names):
        raise ConfigError(f"policy must be a list of concept names, not {shown(policy)}")
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 1:
        raise ConfigError(f"limit must lie between 0 and 1, not {shown(limit)}")
