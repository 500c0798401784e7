"""The trainer: distils a pruned student from its teacher and suppresses concepts in one resumable run."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from torch import Tensor, nn

from pruneguard.concepts import Concept
from pruneguard.data.latents import LatentSet
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure import find_eraser, select_parameters
from pruneguard.erasure.pool import build_pool
from pruneguard.errors import ConfigError, ModelError
from pruneguard.runs.checkpoint import Checkpoints, Position
from pruneguard.runs.digest import fingerprint
from pruneguard.runs.interrupt import deferred_interrupt
from pruneguard.runs.processes import this_process
from pruneguard.runs.progress import Advance, OnProgress, silent
from pruneguard.runs.record import check_record
from pruneguard.runtime import mentions_minors
from pruneguard.training.attention import plain_attention
from pruneguard.training.batches import LowerBatches, UpperBatches
from pruneguard.training.levels import LevelGradients, Suppression, check_rows
from pruneguard.training.schedules.alternating import Schedule, find_schedule
from pruneguard.training.settings import TrainSettings
from pruneguard.training.watch import LossWatch

if TYPE_CHECKING:
    from pruneguard.models import Pipeline


@dataclass(frozen=True)
class TrainResult:
    """The trained student in eval mode, numbers for the report, and the last checkpoint."""

    unet: nn.Module
    metrics: dict[str, float]
    checkpoint: Path


def train(
    teacher: Pipeline,
    student_unet: nn.Module,
    data: LatentSet,
    concepts: Sequence[Concept],
    settings: TrainSettings,
    run_folder: Path,
    *,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Trains `student_unet` in place, going on from the run folder's last checkpoint if it has one.

    Without concepts there is no upper level: plain distillation. On one kind of CPU and build a run that was killed and
    resumed ends with the weights of one that was not, bit for bit. Of several processes (`accelerate launch`) the main
    one writes; all must see the same run folder.
    Raises ConfigError, DataError, TrainingError (not finite, exploded, cannot write), and on Ctrl-C KeyboardInterrupt
    once the steps done so far are saved.
    """
    return _Run(teacher, student_unet, data, concepts, settings, run_folder, on_progress or silent).finish()


def check_run(settings: TrainSettings, concepts: Sequence[Concept], processes: int) -> None:
    """ConfigError for settings that cannot work with these concepts on this many processes."""
    if concepts and settings.every > settings.steps:
        raise ConfigError(
            f"`every` {settings.every} is above `steps` {settings.steps}: no upper step would run; raise steps"
        )
    check_rows(settings, processes)
    _tracker(settings)


def without_concepts(data: LatentSet, concepts: Sequence[Concept]) -> LatentSet:
    """The rows whose caption names none of the concepts, and whose picture shows none as far as that is known.

    ConfigError when none is left.
    """
    kept = data.where(lambda words: not any(concept.named_in(words) for concept in concepts))
    if not len(kept):
        raise ConfigError(
            "every row of the training data names or shows a concept, so nothing is left to learn; add other data"
        )
    return kept


class _Run:
    """One run: what outlives a step and nothing that belongs to one."""

    def __init__(
        self,
        teacher: Pipeline,
        student: nn.Module,
        data: LatentSet,
        concepts: Sequence[Concept],
        settings: TrainSettings,
        folder: Path,
        on_progress: OnProgress,
    ) -> None:
        process = this_process()
        check_run(settings, concepts, process.num_processes)
        self._settings = settings
        self._folder = folder
        self._on_progress = on_progress
        self._diffusion = diffusion_of(teacher)
        kept = without_concepts(data, concepts)
        self._left_out = len(data) - len(kept)
        self._checkpoints = Checkpoints(folder, settings.keep_checkpoints)
        if process.is_main_process:
            made_from = _made_from(teacher, student, data, concepts, settings)
            check_record(folder, made_from, begun=bool(self._checkpoints.all()))
        self._accelerator = Accelerator(
            mixed_precision=settings.precision, log_with=_tracker(settings), project_dir=str(folder / "logs")
        )
        if teacher.device != self._accelerator.device:
            teacher.to(self._accelerator.device)
        self._student = student.to(self._accelerator.device).train().requires_grad_(True)
        suppression = self._suppression(teacher, kept, concepts)
        parameters = {"lower": list(self._student.parameters())}
        if suppression:
            parameters["upper"] = list(suppression.parameters)
        self._schedule: Schedule = find_schedule(settings.schedule)(
            parameters, {"lower": settings.lower, "upper": settings.upper}, every=settings.every, steps=settings.steps
        )
        self._start = self._checkpoints.restore(self._student, self._schedule.optimisers)
        self._watch = LossWatch(settings.explosion, self._start.losses if self._start else None)
        lower = LowerBatches(
            kept, self._diffusion, _empty(teacher), settings.batch_size, settings.caption_dropout, settings.seed
        )
        self._prepared = self._accelerator.prepare_model(self._student)
        self._gradients = LevelGradients(
            self._accelerator,
            self._prepared,
            teacher.unet.eval(),
            lower,
            suppression,
            settings,
            self._watch,
            self._checkpoints.described,
        )

    def _suppression(self, teacher: Pipeline, kept: LatentSet, concepts: Sequence[Concept]) -> Suppression | None:
        """What the upper level works with; None without concepts."""
        if not concepts:
            return None
        erasure, seed = self._settings.erasure, self._settings.seed
        with self._accelerator.main_process_first():
            pools = [
                build_pool(teacher, concept, erasure, seed, self._folder / "cache", self._on_progress)
                for concept in concepts
            ]
        # Pictures of minors must never meet a concept's prompt.
        others = kept.where(lambda words: not mentions_minors(words))
        if not len(others) and erasure.source.kind == "mixed":
            raise ConfigError("source 'mixed' has no pictures to mix in; use source 'noised', or add other data")
        batches = UpperBatches(
            pools, others, erasure.source, self._diffusion, _empty(teacher), erasure.batch_size, seed
        )
        eraser = find_eraser(erasure.eraser)
        sets = [concept.parameters if erasure.parameters == "auto" else erasure.parameters for concept in concepts]
        chosen = select_parameters(self._student, sets)
        return Suppression(eraser, eraser.build_settings(erasure.options), batches, list(chosen.values()))

    def finish(self) -> TrainResult:
        """Steps up to the last one, with checkpoints on the way and at the end."""
        position = self._start or Position(0, 0, {})
        first, total = position.step, self._settings.steps
        saved = first if self._start else -1
        started = time.perf_counter()
        measured = dict(position.measured)
        with self._tracked(first), plain_attention(self._student), deferred_interrupt() as interrupted:
            for step in self._schedule.run(self._gradients, first):
                measured |= step.measured
                position = Position(step.number, step.upper_steps, self._watch.history, measured)
                self._accelerator.log(dict(step.measured), step=step.number)
                self._on_progress(Advance("train", step.number, total, step.measured))
                stopping = self._any(interrupted())
                if stopping or step.number % self._settings.checkpoint_every == 0:
                    saved = self._save(position)
                if stopping:
                    raise KeyboardInterrupt(
                        f"stopped after step {step.number} of {total}, which is saved; "
                        f"the same command goes on from {self._folder}"
                    )
        if saved != position.step:
            self._save(position)
        seconds = time.perf_counter() - started
        numbers = {
            "steps": position.step,
            "upper_steps": position.upper_steps,
            "rows_left_out": self._left_out,
            "seconds": seconds,
            "seconds_per_step": seconds / max(1, position.step - first),
        }
        # Under bf16 accelerate wraps `forward`; what is audited and saved must compute as the saved weights will.
        unet = self._accelerator.unwrap_model(self._prepared, keep_fp32_wrapper=False)
        return TrainResult(unet.eval(), measured | numbers, self._checkpoints.all()[-1])

    def _any(self, here: bool) -> bool:
        """Whether it holds in any process: all must stop after the same step, or the rest would wait for ever."""
        if here:
            self._accelerator.set_trigger()
        return bool(self._accelerator.check_trigger())

    def _save(self, position: Position) -> int:
        if self._accelerator.is_main_process:
            self._checkpoints.save(self._student, self._schedule.optimisers, position)
        self._accelerator.wait_for_everyone()
        return position.step

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


def diffusion_of(teacher: Pipeline) -> Diffusion:
    """The teacher's forward process; ModelError for a prediction type without a known target."""
    if teacher.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{teacher.source} predicts {teacher.prediction_type!r}; choose a model that predicts epsilon or v"
        )
    return Diffusion(teacher.scheduler.alphas_cumprod.float().cpu(), teacher.prediction_type)


def _empty(teacher: Pipeline) -> Tensor:
    """The empty prompt's states, (1, L, D) on the CPU."""
    return teacher.encode_text([""]).float().cpu()


def _made_from(
    teacher: Pipeline, student: nn.Module, data: LatentSet, concepts: Sequence[Concept], settings: TrainSettings
) -> dict[str, Any]:
    return {
        "settings": settings.to_dict(),
        "teacher": fingerprint(teacher.unet),
        "scheduler": dict(teacher.scheduler.config),
        "student": fingerprint(student),
        "data": data.digest,
        "concepts": {concept.name: asdict(concept) for concept in concepts},
    }


def _tracker(settings: TrainSettings) -> str | None:
    """The tracker for accelerate; ConfigError for one that is asked for and not installed."""
    installed = importlib.util.find_spec("tensorboard") is not None
    if settings.tracker == "tensorboard" and not installed:
        raise ConfigError("`tracker` is 'tensorboard', which is not installed; install it, or set `tracker` to 'none'")
    return "tensorboard" if installed and settings.tracker != "none" else None
