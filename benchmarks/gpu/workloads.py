"""What is timed: one guided UNet call in three ways, and one training step of each level."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from benchmarks.gpu.architecture import TEXT_TOKENS
from benchmarks.gpu.timing import Step, Workload
from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure.contract import ConceptBatch
from pruneguard.erasure.methods.esd import ESDSettings, esd_loss
from pruneguard.erasure.parameters import select_parameters
from pruneguard.training.batches import LowerBatch
from pruneguard.training.objective import lower_terms
from pruneguard.training.settings import LossSettings

GUIDED = 2  # classifier-free guidance runs a batch of two for each image


def sampling(name: str, unet: UNet2DConditionModel, macs: int) -> list[Workload]:
    """One guided step of one image: eager, compiled, and replayed from a CUDA graph."""
    device = unet.device
    inputs = _unet_inputs(unet, GUIDED, unet.dtype)

    def call(model: Any) -> Step:
        def step() -> Tensor:
            with torch.inference_mode():
                output: Tensor = model(*inputs, return_dict=False)[0]
                return output

        return step

    def compiled() -> Step:
        # Off CUDA only the graph capture is tried: the CPU's code generator would need a C++ compiler and a minute.
        return call(torch.compile(unet, backend="inductor" if device.type == "cuda" else "eager", dynamic=False))

    ways: dict[str, Callable[[], Step]] = {
        "eager": lambda: call(unet),
        "compile": compiled,
        "cuda_graph": lambda: _captured(call(unet), device),
    }
    return [Workload(f"{name}_{way}", prepare, GUIDED * macs) for way, prepare in ways.items()]


def training(
    student: UNet2DConditionModel, teacher: UNet2DConditionModel, *, rows: int, student_macs: int, teacher_macs: int
) -> list[Workload]:
    """One lower step (L_ft, all weights) and one upper step (ESD on the cross-attention), each with its AdamW step."""
    lower_macs = rows * (3 * student_macs + teacher_macs)
    upper_macs = rows * (2 * student_macs + 2 * teacher_macs)
    return [
        Workload(
            "lower_step",
            lambda: _lower(student, teacher, rows),
            lower_macs,
            "rows x (student forward and 2 backward + teacher forward)",
        ),
        Workload(
            "upper_step",
            lambda: _upper(student, teacher, rows),
            upper_macs,
            "rows x (student forward and 1 backward, to inputs + 2 teacher forward); few weights need a gradient",
        ),
    ]


def _lower(student: UNet2DConditionModel, teacher: nn.Module, rows: int) -> Step:
    settings = LossSettings()
    sample, _, text = _unet_inputs(student, rows, torch.float32)
    timesteps = torch.randint(1000, (rows,), device=sample.device)
    batch = LowerBatch(sample, timesteps, text, torch.randn_like(sample))
    diffusion = Diffusion(_alphas_cumprod(sample.device), "v_prediction")

    def loss() -> Tensor:
        terms = lower_terms(student, teacher, batch, diffusion, settings)
        return torch.stack([getattr(settings, name) * term for name, term in terms.items()]).sum()

    return _optimised(loss, list(student.parameters()), sample.device)


def _upper(student: UNet2DConditionModel, teacher: nn.Module, rows: int) -> Step:
    sample, _, text = _unet_inputs(student, rows, torch.float32)
    timesteps = torch.randint(1000, (rows,), device=sample.device)
    anchors, empty = torch.randn_like(text), torch.randn_like(text[:1])
    unnamed = torch.zeros(rows, dtype=torch.bool, device=sample.device)
    batch = ConceptBatch(sample, timesteps, text, anchors, empty, text, unnamed)
    chosen = list(select_parameters(student, ["x"]).values())
    return _optimised(lambda: esd_loss(student, teacher, batch, ESDSettings()), chosen, sample.device)


def _optimised(loss: Callable[[], Tensor], parameters: list[nn.Parameter], device: torch.device) -> Step:
    """A whole step in bfloat16 autocast on CUDA. Gradients are taken for `parameters` alone."""
    optimiser = torch.optim.AdamW(parameters, lr=1e-6, fused=device.type == "cuda")

    def step() -> None:
        with _autocast(device):
            value = loss()
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(value, parameters, allow_unused=True), strict=True
        ):
            parameter.grad = gradient
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _captured(step: Step, device: torch.device) -> Step:
    if device.type != "cuda":
        raise RuntimeError("CUDA graphs need a CUDA device")
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = step()

    def replay() -> Tensor:
        graph.replay()
        return output  # type: ignore[no-any-return]  # keeps the output's memory alive with the graph

    return replay


def _unet_inputs(unet: UNet2DConditionModel, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    config, device = unet.config, unet.device
    size = (rows, config.in_channels, config.sample_size, config.sample_size)
    sample = torch.randn(size, device=device, dtype=dtype)
    text = torch.randn(rows, TEXT_TOKENS, config.cross_attention_dim, device=device, dtype=dtype)
    return sample, torch.tensor(501, device=device), text


def _alphas_cumprod(device: torch.device) -> Tensor:
    """Stable Diffusion's scaled-linear schedule."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, device=device) ** 2
    return torch.cumprod(1 - betas, dim=0)


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
