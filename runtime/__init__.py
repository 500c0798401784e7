"""The guarded runtime: an exported engine in, images out, without PyTorch."""

from __future__ import annotations

if __name__ != "pruneguard.runtime":
    raise ImportError("import pruneguard.runtime, not the folder it lives in")

from pruneguard.text.minors import mentions_minors

from .engines.backend import BACKENDS, Backend, EngineOptions
from .engines.bundled import choose_engine, engine_components, open_engine
from .engines.engine import Components, Engine, EngineError
from .engines.onnx_engine import OnnxEngine, onnx_components
from .engines.torch_engine import TorchEngine, sampler_settings, torch_components
from .guarded import GuardedSampler, Result
from .guards.guard import ConceptTermsGuard, Guard, GuardRefusal, MinorsGuard, Verdict, run_guards
from .outcomes import Drawn, Failed, Outcome, Refused
from .sampling.coding import check_prompts_differ, decode_latents, encode_prompts
from .sampling.denoising import Denoising, Row
from .sampling.noise import draw_noise
from .sampling.sampler import denoise, draw, draw_latents
from .sampling.settings import SamplerSettings
from .sampling.solver import SOLVERS, Solver
from .sampling.tokens import ClipTokenizer, Tokens

__all__ = [
    "BACKENDS",
    "SOLVERS",
    "Backend",
    "ClipTokenizer",
    "Components",
    "ConceptTermsGuard",
    "Denoising",
    "Drawn",
    "Engine",
    "EngineError",
    "EngineOptions",
    "Failed",
    "Guard",
    "GuardRefusal",
    "GuardedSampler",
    "MinorsGuard",
    "OnnxEngine",
    "Outcome",
    "Refused",
    "Result",
    "Row",
    "SamplerSettings",
    "Solver",
    "Tokens",
    "TorchEngine",
    "Verdict",
    "check_prompts_differ",
    "choose_engine",
    "decode_latents",
    "denoise",
    "draw",
    "draw_latents",
    "draw_noise",
    "encode_prompts",
    "engine_components",
    "mentions_minors",
    "onnx_components",
    "open_engine",
    "run_guards",
    "sampler_settings",
    "torch_components",
]
