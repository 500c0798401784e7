"""Zero-shot detection with CLIP: a picture's score says how much better the concept's texts fit it than other texts.

The similarities of CLIP (Radford et al. 2021, arXiv:2103.00020) have no zero that holds for every concept, so the
scores decide nothing before they are calibrated.
"""

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
class ClipScorer:
    """Scores a picture by the log-odds that CLIP's softmax gives to the concept's texts.

    The concept's texts are its prompts and audit prompts. The other texts are its anchors and neighbours.
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
        """Raises ConfigError for a concept whose anchors and neighbours are all among its prompts."""
        if not {*concept.anchors, *concept.neighbours} - {*concept.prompts, *concept.audit_prompts}:
            raise ConfigError(
                f"concept {concept.name!r}: all anchors and neighbours are prompts of it, so {self.name!r} has nothing "
                "to compare with; give it other neighbours"
            )

    def score(self, images: Images, concept: Concept) -> NDArray[np.float64]:
        """Log-odds (N,) of pictures (N, H, W, 3), see `log_odds`."""
        import torch

        calling = list(dict.fromkeys([*concept.prompts, *concept.audit_prompts]))
        others = dict.fromkeys([*concept.anchors, *concept.neighbours])
        texts = [*calling, *(text for text in others if text not in calling)]
        tokens = self.tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        scores = np.zeros(len(images))
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                part = self.pictures(images=list(images[start : start + BATCH]), return_tensors="pt")
                logits = self.model(**tokens, **part).logits_per_image.double().numpy()
                scores[start : start + BATCH] = log_odds(logits, len(calling))
        return scores


def log_odds(logits: NDArray[np.float64], calling: int) -> NDArray[np.float64]:
    """The log-odds (N,) of the first `calling` of T texts against the others, from logits (N, T).

    With s the softmax over all texts: log(sum of the first s) - log(sum of the other s). The softmax's denominator
    cancels, so this is the difference of two log-sum-exps of the logits. Natural logarithm.
    """
    odds: NDArray[np.float64] = np.logaddexp.reduce(logits[:, :calling], axis=1)
    odds -= np.logaddexp.reduce(logits[:, calling:], axis=1)
    return odds


def _picture_processor() -> Any:
    """CLIP's image processor without torchvision; the name of its class depends on the version of transformers."""
    import transformers

    name = "CLIPImageProcessorPil" if hasattr(transformers, "CLIPImageProcessorPil") else "CLIPImageProcessor"
    return getattr(transformers, name)
