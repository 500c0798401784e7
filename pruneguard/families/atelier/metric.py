"""What pictures keep of their prompts, as atelier's oracle reads them."""

from __future__ import annotations

from collections.abc import Sequence

from pruneguard.atelier.oracle import Oracle, labels_of, load_oracle
from pruneguard.atelier.world import Scene
from pruneguard.evaluation.detectors.detector import Images
from pruneguard.evaluation.metrics.metric import METRICS, AuditPictures
from pruneguard.measurement import Measurement, Protocol
from pruneguard.registry import NoSettings

PRESERVED = ("object", "style", "colour")
BACKBONE = "atelier-oracle"


@METRICS.register("kept")
class Kept:
    """The share of pictures in which the oracle reads what the prompt says, attribute by attribute.

    `kept/…` is measured on the prompts that do not call for the concept. `rest/…` is measured on those that do, without
    the concept's own attribute: a model that was ruined instead of taught loses that rest.
    """

    def __init__(self, settings: NoSettings | None = None, *, oracle: Oracle | None = None) -> None:
        self.oracle = oracle or load_oracle()

    def __call__(self, pictures: AuditPictures) -> list[Measurement]:
        """`kept/object`, `kept/style`, `kept/colour` and `rest/…`; nothing for prompts whose scenes are not known."""
        prompts, own = pictures.prompts, pictures.concept.detect.get("attribute")
        kept = agreement(self.oracle, pictures.other, prompts.other_asked)
        rest = agreement(self.oracle, pictures.target, prompts.target_asked)
        return [
            *(_share(f"kept/{name}", value, len(pictures.other)) for name, value in kept.items()),
            *(_share(f"rest/{name}", value, len(pictures.target)) for name, value in rest.items() if name != own),
        ]


def agreement(oracle: Oracle, images: Images, scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of images (N, 64, 64, 3) in which the oracle reads the scene's object, style and colour.

    Empty if there are no images or no scenes.
    """
    if not len(images) or not scenes:
        return {}
    right = oracle.read(images) == labels_of(scenes)
    return {name: float(right[:, column].mean()) for column, name in enumerate(PRESERVED)}


def _share(name: str, value: float, count: int) -> Measurement:
    return Measurement(name=name, value=value, unit="share", count=count, protocol=Protocol(backbone=BACKBONE))
