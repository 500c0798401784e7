"""Settings of training and of audits for the embedded model."""

from __future__ import annotations

from pruneguard.erasure.settings import ErasureSettings
from pruneguard.erasure.sources import SourceSettings
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.evaluation.space import SpaceSettings
from pruneguard.settings import Choice
from pruneguard.training.schedules.rate import LevelSettings
from pruneguard.training.settings import TrainSettings

AUDIT = AuditSettings(
    target=96,
    implicit=96,
    keep=0.8,
    space=SpaceSettings(
        steps=(10, 50), guidance_scale=(1.0, 15.0), negative_prompts=("blurry, low quality", "dark, noisy")
    ),
)
"""How atelier's audits draw. Its space is what the runtime allows without consent.

With 96 pictures of each kind one that shows the concept, or that the detector misreads, does not fail an audit: its
bound is 4.9 %. With 64 it would be 7.2 %.

`keep` counts against the dense teacher. Pruning and 150 steps of distillation alone keep some 0.92 of the styles that
the oracle reads in the teacher's pictures, so 0.8 asks for about 0.9 of what a distilled model keeps."""


def preset() -> TrainSettings:
    """A run of minutes on two cores.

    The eraser is `anchor` because ESD also changes colours and objects. Caption dropout is higher than usual because
    guidance 7.5 amplifies the error of the unconditional prediction, which a tenth of the rows would train too little
    in 150 steps.
    """
    return TrainSettings(
        steps=150,
        batch_size=16,
        schedule=Choice("alternating", {"every": 3}),
        lower=LevelSettings(lr=6e-4, warmup=20, decay="cosine"),
        upper=LevelSettings(lr=4e-4, warmup=20, decay="cosine"),
        erasure=ErasureSettings(
            eraser=Choice("anchor"),
            parameters="all",
            source=SourceSettings(kind="mixed", share=0.6, others="anchors"),
            batch_size=16,
            images=48,
        ),
        caption_dropout=0.2,
        max_grad_norm=1.0,
        checkpoint_every=50,
    )
