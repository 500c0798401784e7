"""Engines on PyTorch: a diffusers pipeline behind the engines' interface, for audits and reference images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import RequestError
from pruneguard.settings import plain

from ..sampling.settings import SamplerSettings, vae_scale
from ..sampling.solver import read_scheduler
from ..sampling.tokens import Tokens, panics_as_errors, text_length
from .engine import Components, EngineError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchEngine:
    """A torch module and how to call it: `call` takes the inputs by name and gives the outputs by name.

    Floating inputs get the module's dtype, but for the timestep, which stays float32: in 16 bits neighbouring
    timesteps are one number. Outputs come back as fresh float32 arrays. A call has no deadline, because PyTorch cannot
    be interrupted from outside: torch engines draw for audits and references, with models that this process loaded.
    """

    module: torch.nn.Module
    call: Callable[..., Mapping[str, torch.Tensor]]

    def run(self, inputs: dict[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Raises EngineError for an output that the module lacks, and if it fails."""
        import torch

        weight = next(self.module.parameters())

        def load(name: str, value: NDArray[Any]) -> torch.Tensor:
            dtype = weight.dtype if value.dtype.kind == "f" and name != "timestep" else None
            return torch.tensor(value, dtype=dtype, device=weight.device)

        with torch.inference_mode():
            try:
                found = self.call(**{name: load(name, value) for name, value in inputs.items()})
            except (RuntimeError, ValueError, TypeError) as error:
                raise EngineError(f"{type(self.module).__name__} failed: {error}") from error
            if absent := [name for name in outputs or () if name not in found]:
                raise EngineError(f"{type(self.module).__name__} has no output {absent[0]!r}")
            return {name: np.array(found[name].float().cpu().numpy()) for name in outputs or found}

    def describe(self) -> dict[str, Any]:
        """Backend, version, device, dtype and threads, for reports."""
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
        """Raises RequestError for prompts on which the tokenizer fails."""
        texts = list(prompts)
        try:
            with panics_as_errors():
                rows = self.backend(texts, padding="max_length", max_length=self.length, truncation=True)["input_ids"]
                counts = [len(ids) for ids in self.backend(texts, truncation=False, verbose=False)["input_ids"]]
        except Exception as error:  # the library raises bare Exception
            raise RequestError(f"the prompts cannot be tokenized ({error}); change their text") from error
        return Tokens(np.asarray(rows, dtype=np.int64), tuple(max(0, count - self.length) for count in counts))


def torch_components(
    pipeline: Any, *, sampler: Mapping[str, Any] | SamplerSettings | None = None, scheduler: str | None = None
) -> Components:
    """Components of an object with .tokenizer, .text_encoder, .unet, .vae and .scheduler, the modules in eval mode.

    The settings are those of `sampler`, or the pipeline's own by `sampler_settings(pipeline, scheduler)`. Raises
    ConfigError.
    """
    settings = sampler_settings(pipeline, scheduler) if sampler is None else sampler
    if not isinstance(settings, SamplerSettings):
        settings = SamplerSettings.from_dict(settings)
    text_encoder, unet, vae = pipeline.text_encoder, pipeline.unet, pipeline.vae

    def encode(input_ids: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return {"last_hidden_state": text_encoder(input_ids).last_hidden_state}

    def predict(
        sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        return {"out_sample": unet(sample, timestep, encoder_hidden_states).sample}

    def decode(latent_sample: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return {"sample": vae.decode(latent_sample).sample}

    return Components(
        text_encoder=TorchEngine(text_encoder, encode),
        unet=TorchEngine(unet, predict),
        vae_decoder=TorchEngine(vae, decode),
        tokenizer=PipelineTokenizer(pipeline.tokenizer, settings.text_tokens),
        sampler=settings,
    )


def sampler_settings(pipeline: Any, scheduler: str | None = None) -> SamplerSettings:
    """The settings that a pipeline's configurations give; `dataclasses.asdict` of them is the manifest's `sampler`.

    `scheduler` names a solver that takes the place of the pipeline's own scheduler at the same noise levels. Raises
    ConfigError for a scheduler whose class no solver computes, and for noise levels that the solver cannot use.
    """
    own = {**pipeline.scheduler.config, "_class_name": type(pipeline.scheduler).__name__}
    solver, config = read_scheduler(own, scheduler)
    return SamplerSettings(
        scheduler=plain(config),
        latent_channels=pipeline.unet.config.in_channels,
        latent_size=pipeline.unet.config.sample_size,
        vae_scale=vae_scale(pipeline.vae.config.block_out_channels),
        scaling_factor=pipeline.vae.config.scaling_factor,
        text_tokens=text_length(
            pipeline.tokenizer.model_max_length, pipeline.text_encoder.config.max_position_embeddings
        ),
        prediction_type=config.prediction_type,
        solver=solver,
    )
