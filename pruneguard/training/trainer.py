"""The trainer: distils a pruned student from its teacher and suppresses concepts in one resumable run."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from torch import nn

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure.contract import ERASERS, Erasure
from pruneguard.erasure.implicit import steering_of
from pruneguard.erasure.pool import prompt_states
from pruneguard.erasure.task import ErasureTask
from pruneguard.errors import ConfigError
from pruneguard.runs.checkpoint import Checkpoints, Contents, Position, Stateful
from pruneguard.runs.digest import fingerprint
from pruneguard.runs.interrupt import deferred_interrupt
from pruneguard.runs.processes import this_process
from pruneguard.runs.progress import Advance, OnProgress, silent
from pruneguard.runs.record import check_record, free_settings
from pruneguard.text.prompts import same_text
from pruneguard.training.attention import plain_attention
from pruneguard.training.batches import LowerBatches
from pruneguard.training.levels import LevelGradients, check_rows
from pruneguard.training.objective import LowerObjective, diffusion_of
from pruneguard.training.schedules.contract import SCHEDULES, Counters
from pruneguard.training.settings import TrainSettings
from pruneguard.training.watch import LossWatch

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True)
class TrainResult:
    """The trained pipeline in eval mode, numbers for the report, and the last checkpoint."""

    pipeline: Pipeline
    """The teacher's components with the trained student, and the trained text encoder if an erasure trains one."""
    metrics: dict[str, float]
    checkpoint: Path

    @property
    def unet(self) -> nn.Module:
        """The trained student."""
        unet: nn.Module = self.pipeline.unet
        return unet


def train(
    teacher: Pipeline,
    student_unet: nn.Module,
    data: LatentSet,
    concepts: Sequence[Concept],
    settings: TrainSettings,
    run_folder: Path,
    *,
    cache: Path | None = None,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Trains `student_unet` in place, going on from the run folder's last checkpoint if it has one.

    Without concepts there is no upper level: plain distillation. On one kind of CPU and build a run that was killed and
    resumed ends with the weights of one that was not, bit for bit. Of several processes (`accelerate launch`) the main
    one writes; all must see the same run folder. `cache` is where the teacher's latents of the concepts are kept, by
    default in the run folder.
    Raises ConfigError, DataError, TrainingError (not finite, exploded, cannot write), and KeyboardInterrupt on Ctrl-C
    or SIGTERM once the steps done so far are saved.
    """
    cache = cache or run_folder / "cache"
    return _Run(teacher, student_unet, data, concepts, settings, run_folder, cache, on_progress or silent).finish()


def check_run(settings: TrainSettings, concepts: Sequence[Concept], processes: int) -> None:
    """Raises ConfigError for settings that cannot work with these concepts on this many processes."""
    if concepts:
        SCHEDULES.settings(settings.schedule).check(settings.steps)
        _check_edits(settings)
    check_rows(settings, processes)
    _tracker(settings)


def _turns(settings: TrainSettings, concepts: Sequence[Concept]) -> int:
    """Upper steps that reach every concept once: an edit reaches all of them, a batch of latents one."""
    return 1 if ERASERS.find(settings.erasure.eraser.name).build.edits else max(1, len(concepts))


def _check_edits(settings: TrainSettings) -> None:
    """Raises ConfigError for an eraser without a gradient under a schedule that needs one."""
    eraser, schedule = settings.erasure.eraser.name, settings.schedule.name
    if ERASERS.find(eraser).build.edits and not SCHEDULES.find(schedule).build.takes_edits:
        able = ", ".join(name for name in SCHEDULES.names() if SCHEDULES.find(name).build.takes_edits)
        raise ConfigError(
            f"schedule {schedule!r} needs a gradient, and eraser {eraser!r} edits the weights without one: choose the "
            f"schedule from {able}"
        )


def without_concepts(data: LatentSet, concepts: Sequence[Concept]) -> LatentSet:
    """The rows whose caption names none of the concepts, and whose picture shows none as far as that is known.

    Captions that an audit of the concepts asks are left out too. Raises ConfigError when none is left.
    """
    audited = {text for concept in concepts for text in concept.audited}

    def may_stay(words: str) -> bool:
        return same_text(words) not in audited and not any(concept.named_in(words) for concept in concepts)

    kept = data.where(may_stay)
    if not len(kept):
        raise ConfigError(
            "every row of the training data names or shows a concept, so nothing is left to learn; add other data"
        )
    return kept


class _Run:
    """One run: what lives from its first step to its last."""

    def __init__(
        self,
        teacher: Pipeline,
        student: nn.Module,
        data: LatentSet,
        concepts: Sequence[Concept],
        settings: TrainSettings,
        folder: Path,
        cache: Path,
        on_progress: OnProgress,
    ) -> None:
        process = this_process()
        check_run(settings, concepts, process.num_processes)
        self._settings = settings
        self._folder, self._cache = folder, cache
        self._on_progress = on_progress
        diffusion = diffusion_of(teacher)
        kept = without_concepts(data, concepts)
        self._left_out = len(data) - len(kept)
        self._checkpoints = Checkpoints(folder, settings.keep_checkpoints)
        if process.is_main_process:
            made_from = _made_from(teacher, student, data, concepts, settings)
            free = free_settings(settings, "settings")
            check_record(folder, made_from, begun=bool(self._checkpoints.all()), free=free)
        self._accelerator = Accelerator(
            mixed_precision=settings.precision, log_with=_tracker(settings), project_dir=str(folder / "logs")
        )
        if teacher.device != self._accelerator.device:
            teacher.to(self._accelerator.device)
        self._teacher = teacher
        self._student = student.to(self._accelerator.device).train().requires_grad_(True)
        self._watch = LossWatch(settings.explosion)
        self._task: ErasureTask | None = None
        erasure = self._erasure(kept, concepts, diffusion) if concepts else None
        self._levels = LevelGradients(
            self._accelerator,
            self._student,
            self._objective(kept, concepts, diffusion),
            erasure,
            settings,
            self._watch,
            self._checkpoints.described,
        )
        build = SCHEDULES.find(settings.schedule.name).build
        pacing = replace(settings.pacing, turns=_turns(settings, concepts))
        self._schedule = build(self._levels.parameters, SCHEDULES.settings(settings.schedule), pacing)
        self._contents = self._to_save(erasure)
        self._start = self._checkpoints.restore(self._contents)
        if self._start:
            self._watch.restore(self._start.losses)

    def _objective(self, kept: LatentSet, concepts: Sequence[Concept], diffusion: Diffusion) -> LowerObjective:
        settings, empty_text = self._settings, self._teacher.encode_text([""]).float().cpu()
        implicit = settings.erasure.implicit if concepts else None
        steers = implicit is not None and implicit.lower != "teacher"
        batches = LowerBatches(
            kept,
            diffusion,
            empty_text,
            settings.batch_size,
            settings.caption_dropout,
            settings.seed,
            steering_of(concepts, [prompt_states(self._teacher, c.prompts) for c in concepts]) if steers else None,
        )
        return LowerObjective(self._teacher.unet.eval(), batches, settings.losses, implicit)

    def _erasure(self, kept: LatentSet, concepts: Sequence[Concept], diffusion: Diffusion) -> Erasure:
        settings = self._settings.erasure
        self._task = ErasureTask(
            self._student,
            self._teacher,
            tuple(concepts),
            kept,
            diffusion,
            settings,
            self._settings.seed,
            self._cache,
            self._on_progress,
        )
        return ERASERS.find(settings.eraser.name).build(self._task, ERASERS.settings(settings.eraser))

    def _to_save(self, erasure: Erasure | None) -> Contents:
        modules: dict[str, nn.Module] = {"unet": self._student}
        if self._task and self._task.trained_text_encoder:
            modules["text_encoder"] = self._task.trained_text_encoder
        states: dict[str, Stateful] = {"schedule": self._schedule}
        if erasure:
            states["erasure"] = erasure
        return Contents(modules, self._schedule.optimisers, states)

    def finish(self) -> TrainResult:
        """Steps up to the last one, with checkpoints on the way and at the end."""
        position = self._start or Position(0, asdict(Counters()))
        first, total = position.number, self._schedule.events
        saved = first if self._start else -1
        started = time.perf_counter()
        measured = dict(position.measured)
        with self._tracked(first), plain_attention(self._student), deferred_interrupt() as interrupted:
            for step in self._schedule.run(self._levels, Counters(**position.counters)):
                measured |= step.measured
                number = step.at.event
                position = Position(number, asdict(step.at), self._watch.history, measured)
                self._accelerator.log(dict(step.measured), step=number)
                self._on_progress(Advance("train", number, total, step.measured))
                stopping = self._any(interrupted())
                if stopping or number % self._settings.checkpoint_every == 0:
                    saved = self._save(position)
                if stopping:
                    raise KeyboardInterrupt(
                        f"stopped after step {number} of {total}, which is saved; "
                        f"the same command goes on from {self._folder}"
                    )
        if saved != position.number:
            self._save(position)
        return self._result(position, measured, time.perf_counter() - started, first)

    def _result(self, position: Position, measured: dict[str, float], seconds: float, first: int) -> TrainResult:
        numbers = {
            "steps": position.counters["lower"],
            "upper_steps": position.counters["upper"],
            "rows_left_out": self._left_out,
            "seconds": seconds,
            "seconds_per_step": seconds / max(1, position.number - first),
        }
        pipeline = replace(self._teacher, unet=self._student.eval())
        if self._task and self._task.trained_text_encoder:
            pipeline = replace(pipeline, text_encoder=self._task.trained_text_encoder.eval())
        return TrainResult(pipeline, measured | numbers, self._checkpoints.all()[-1])

    def _any(self, here: bool) -> bool:
        """Whether it holds in any process: all must stop after the same step, or the rest would wait for ever."""
        if here:
            self._accelerator.set_trigger()
        return bool(self._accelerator.check_trigger())

    def _save(self, position: Position) -> int:
        if self._accelerator.is_main_process:
            self._checkpoints.save(self._contents, position)
        self._accelerator.wait_for_everyone()
        return position.number

    @contextmanager
    def _tracked(self, first: int) -> Iterator[None]:
        """Trackers that drop what a killed run had logged beyond the step from which it goes on."""
        if self._accelerator.log_with:
            self._accelerator.init_trackers("train", init_kwargs={"tensorboard": {"purge_step": first + 1}})
        try:
            yield
        finally:
            for tracker in self._accelerator.trackers:
                tracker.finish()


def _made_from(
    teacher: Pipeline, student: nn.Module, data: LatentSet, concepts: Sequence[Concept], settings: TrainSettings
) -> dict[str, Any]:
    return {
        "settings": settings.to_dict(),
        "teacher": fingerprint(teacher.unet),
        "text_encoder": fingerprint(teacher.text_encoder),
        "scheduler": dict(teacher.scheduler.config),
        "student": fingerprint(student),
        "data": data.digest,
        "concepts": {concept.name: asdict(concept) for concept in concepts},
    }


def _tracker(settings: TrainSettings) -> str | None:
    """The tracker for accelerate. Raises ConfigError for one that is asked for and not installed."""
    installed = importlib.util.find_spec("tensorboard") is not None
    if settings.tracker == "tensorboard" and not installed:
        raise ConfigError("`tracker` is 'tensorboard', which is not installed; install it, or set `tracker` to 'none'")
    return "tensorboard" if installed and settings.tracker != "none" else None
