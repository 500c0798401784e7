"""Engines on PyTorch: a diffusers pipeline behind the same interface, for audits and reference images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..sampling.pndm import PndmConfig
from ..sampling.tokens import Tokens, text_length
from .engine import Components, EngineError, SamplerSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchEngine:
    """A torch module and how to call it; floating inputs get the module's dtype, outputs come back as fresh float32."""

    module: torch.nn.Module
    call: Callable[..., torch.Tensor]
    output: str

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises EngineError if the module fails."""
        import torch

        weight = next(self.module.parameters())

        def load(value: NDArray[Any]) -> torch.Tensor:
            dtype = weight.dtype if value.dtype.kind == "f" else None
            return torch.tensor(value, dtype=dtype, device=weight.device)

        with torch.inference_mode():
            try:
                result = self.call(**{name: load(value) for name, value in inputs.items()})
            except (RuntimeError, ValueError, TypeError) as error:
                raise EngineError(f"{type(self.module).__name__} failed: {error}") from error
            return {self.output: np.array(result.float().cpu().numpy())}

    def describe(self) -> dict[str, Any]:
        import torch

        weight = next(self.module.parameters())
        return {
            "backend": "torch",
            "version": torch.__version__,
            "device": str(weight.device),
            "dtype": str(weight.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }


@dataclass(frozen=True)
class PipelineTokenizer:
    """A transformers tokenizer behind the runtime's interface."""

    backend: Any
    length: int

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        rows = self.backend(list(prompts), padding="max_length", max_length=self.length, truncation=True)["input_ids"]
        counts = [len(ids) for ids in self.backend(list(prompts), truncation=False, verbose=False)["input_ids"]]
        return Tokens(np.asarray(rows, dtype=np.int64), tuple(max(0, count - self.length) for count in counts))


def torch_components(pipeline: Any, *, sampler: Mapping[str, Any] | SamplerSettings | None = None) -> Components:
    """Components of an object with .tokenizer, .text_encoder, .unet, .vae and .scheduler, the modules in eval mode.

    The settings are the pipeline's own, or those of `sampler`. Raises ConfigError for a scheduler that PNDM cannot be.
    """
    settings = sampler_settings(pipeline) if sampler is None else sampler
    if not isinstance(settings, SamplerSettings):
        settings = SamplerSettings.from_dict(settings)
    text_encoder, unet, vae = pipeline.text_encoder, pipeline.unet, pipeline.vae

    def encode(input_ids: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = text_encoder(input_ids).last_hidden_state
        return states

    def predict(sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor) -> torch.Tensor:
        prediction: torch.Tensor = unet(sample, timestep, encoder_hidden_states).sample
        return prediction

    def decode(latent_sample: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = vae.decode(latent_sample).sample
        return image

    return Components(
        text_encoder=TorchEngine(text_encoder, encode, "last_hidden_state"),
        unet=TorchEngine(unet, predict, "out_sample"),
        vae_decoder=TorchEngine(vae, decode, "sample"),
        tokenizer=PipelineTokenizer(pipeline.tokenizer, settings.text_tokens),
        sampler=settings,
    )


def sampler_settings(pipeline: Any) -> SamplerSettings:
    """The settings that a pipeline's configurations give; `dataclasses.asdict` of them is the manifest's `sampler`."""
    known = {entry.name for entry in fields(PndmConfig)}
    scheduler = {name: value for name, value in pipeline.scheduler.config.items() if name in known}
    if scheduler.get("trained_betas") is not None:
        scheduler["trained_betas"] = [float(beta) for beta in scheduler["trained_betas"]]
    return SamplerSettings(
        scheduler=scheduler,
        latent_channels=pipeline.unet.config.in_channels,
        latent_size=pipeline.unet.config.sample_size,
        vae_scale=2 ** (len(pipeline.vae.config.block_out_channels) - 1),
        scaling_factor=pipeline.vae.config.scaling_factor,
        text_tokens=text_length(
            pipeline.tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings
        ),
        prediction_type=scheduler.get("prediction_type", "epsilon"),
    )
