"""The guarded runtime: an exported engine in, images out, without PyTorch."""

from __future__ import annotations

if __name__ != "pruneguard.runtime":
    raise ImportError("import pruneguard.runtime, not the folder it lives in")

from pruneguard.text.minors import mentions_minors

from .engines.engine import Components, Engine, EngineError, SamplerSettings
from .engines.onnx_engine import OnnxEngine, onnx_components
from .engines.torch_engine import TorchEngine, sampler_settings, torch_components
from .guarded import GuardedSampler, Result
from .guards.guard import ConceptTermsGuard, Guard, GuardRefusal, MinorsGuard, Verdict, run_guards
from .sampling.noise import draw_noise
from .sampling.pndm import PndmState, Schedule, make_schedule, pndm_step
from .sampling.sampler import decode_latents, denoise, draw, draw_latents, encode_prompts
from .sampling.tokens import ClipTokenizer, Tokens

__all__ = [
    "ClipTokenizer",
    "Components",
    "ConceptTermsGuard",
    "Engine",
    "EngineError",
    "Guard",
    "GuardRefusal",
    "GuardedSampler",
    "MinorsGuard",
    "OnnxEngine",
    "PndmState",
    "Result",
    "SamplerSettings",
    "Schedule",
    "Tokens",
    "TorchEngine",
    "Verdict",
    "decode_latents",
    "denoise",
    "draw",
    "draw_latents",
    "draw_noise",
    "encode_prompts",
    "make_schedule",
    "mentions_minors",
    "onnx_components",
    "pndm_step",
    "run_guards",
    "sampler_settings",
    "torch_components",
]
