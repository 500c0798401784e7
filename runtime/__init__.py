"""The guarded runtime: an exported engine in, images out, without PyTorch."""

from __future__ import annotations

if __name__ != "pruneguard.runtime":
    raise ImportError("import pruneguard.runtime, not the folder it lives in")

from .ages import mentions_minors
from .engines import Components, Engine, EngineError, SamplerSettings
from .guarded import GuardedSampler, Result
from .guards import ConceptTermsGuard, Guard, GuardRefusal, MinorsGuard, Verdict, run_guards
from .noise import draw_noise
from .onnx_engine import OnnxEngine, onnx_components
from .pndm import PndmState, Schedule, make_schedule, pndm_step
from .sampler import decode_latents, denoise, draw, draw_latents, encode_prompts
from .tokens import ClipTokenizer, Tokens
from .torch_engine import TorchEngine, sampler_settings, torch_components

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
