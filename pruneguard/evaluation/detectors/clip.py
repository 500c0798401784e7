"""Zero-shot detection with CLIP: the concept shows in a picture that fits one of its prompts best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import ConfigError
from pruneguard.evaluation.detectors.detector import DETECTORS, Images
from pruneguard.runs.digest import weights_digest
from pruneguard.sources import public_name

if TYPE_CHECKING:
    from pruneguard.concepts import Concept

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """Which CLIP model looks at the pictures: a folder or a hub id with safetensors."""

    source: str


@DETECTORS.register("clip", settings=ClipSettings)
class ClipDetector:
    """The concept shows if, of all its texts, the one that fits the picture best is a prompt that asks for it.

    The other texts are the concept's anchors and neighbours. The rule is an argmax without calibration: its error is
    not known before it is measured on pictures with known content.
    """

    def __init__(self, settings: ClipSettings) -> None:
        """Raises ConfigError if there is no CLIP model with safetensors at the source."""
        from transformers import CLIPModel, CLIPTokenizer

        self.name = f"clip:{settings.source}"
        try:
            self.model: Any = CLIPModel.from_pretrained(settings.source, use_safetensors=True).eval()
            self.tokenizer: Any = CLIPTokenizer.from_pretrained(settings.source)
            self.pictures: Any = _picture_processor().from_pretrained(settings.source)
        except (OSError, ValueError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(
                f"detector {self.name!r}: no CLIP model with safetensors at {settings.source!r} ({first}); give "
                "clip:FOLDER_OR_HUB_ID"
            ) from error
        if Path(settings.source).is_dir():  # a record names no path; the digest tells two folders of one name apart
            self.name = f"{public_name(self.name)}@{weights_digest(self.model)[:12]}"

    def check(self, concept: Concept) -> None:
        """Accepts every concept: all have prompts and anchors, and CLIP needs nothing else."""

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        """True (N,) for each picture (N, H, W, 3) whose best text is a prompt or an audit prompt of the concept."""
        import torch

        calling = list(dict.fromkeys([*concept.prompts, *concept.audit_prompts]))
        others = dict.fromkeys([*concept.anchors, *concept.neighbours])
        texts = [*calling, *(text for text in others if text not in calling)]
        tokens = self.tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        found = np.zeros(len(images), bool)
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                part = self.pictures(images=list(images[start : start + BATCH]), return_tensors="pt")
                logits = self.model(**tokens, **part).logits_per_image
                found[start : start + BATCH] = (logits.argmax(1) < len(calling)).numpy()
        return found


def _picture_processor() -> Any:
    """CLIP's image processor without torchvision; the name of its class depends on the version of transformers."""
    import transformers

    name = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    return getattr(transformers, name)
