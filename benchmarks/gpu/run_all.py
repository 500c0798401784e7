"""All GPU measurements in one command, within ten minutes, on a machine without pruneguard or a network.

    python -m benchmarks.gpu.run_all --wheels DIR --out benchmarks/results/gpu.json
    python -m benchmarks.gpu.run_all --thin        # the same code at thin width on the CPU, in seconds

Run it from the root of the repository. The machine must have torch and transformers; diffusers and accelerate are
installed from the wheels in DIR if they are missing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONFIG = ROOT.parent / "shared" / "data" / "models" / "sd21-base" / "unet" / "config.json"
NEEDED = ("diffusers", "accelerate")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    started = time.monotonic()
    install_missing(options.wheels)
    from benchmarks.machine import describe

    results = {
        "command": "python -m benchmarks.gpu.run_all " + " ".join(sys.argv[1:] if arguments is None else arguments),
        **describe(),
        **run(options, started + options.limit_s),
        "wall_s": round(time.monotonic() - started, 1),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(_table(results))


def install_missing(wheels: Path | None) -> None:
    """Installs missing packages from a folder of wheels, without a network. Raises SystemExit with the remedy."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return
    if wheels is None:
        raise SystemExit(f"{', '.join(missing)} not installed; give a folder that holds their wheels with --wheels")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels), *missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip could not install {', '.join(missing)} from {wheels}:\n{done.stderr.strip()}")
    importlib.invalidate_caches()


def run(options: argparse.Namespace, deadline: float) -> dict[str, Any]:
    """All measurements; training gets the second half of the time until `deadline` (of time.monotonic)."""
    import torch
    from diffusers.utils import logging

    from benchmarks.gpu import architecture, timing, workloads
    from pruneguard.macs import unet_macs

    logging.set_verbosity_error()  # diffusers logs every change of type
    torch.manual_seed(0)
    device = torch.device("cpu" if options.thin or not torch.cuda.is_available() else "cuda")
    if device.type == "cpu" and not options.thin:
        raise SystemExit("no CUDA device here; --thin runs the same at thin width on the CPU")
    config, source = architecture.load_config(options.config, thin=options.thin)
    tolerance = 0.1 if options.thin else 0.01  # thin layers have few slots, so the search has coarse steps
    dense, pruned = architecture.build_unets(config, budget=options.budget, device=device, tolerance=tolerance)
    macs = {name: unet_macs(unet, text_tokens=architecture.TEXT_TOKENS) for name, unet in _named(dense, pruned)}
    sampling_type, training_type = (torch.float16, torch.bfloat16) if device.type == "cuda" else (torch.float32,) * 2
    size = 8192 if device.type == "cuda" else 256
    rates = {str(kind): timing.matmul_rate(device, kind, size=size) for kind in {sampling_type, training_type}}
    common: dict[str, Any] = {"device": device, "warmup": options.warmup}

    halves = [(name, _copy(unet, sampling_type)) for name, unet in _named(dense, pruned)]
    sampled = timing.measure(
        [work for name, unet in halves for work in workloads.sampling(name, unet, macs[name].total)],
        rate=rates[str(sampling_type)],
        rounds=options.rounds,
        deadline=(time.monotonic() + deadline) / 2,
        **common,
    )
    del halves
    _release()
    trained = timing.measure(
        workloads.training(
            pruned.requires_grad_(True),
            dense.to(training_type).requires_grad_(False),
            rows=options.rows,
            student_macs=macs["pruned"].total,
            teacher_macs=macs["dense"].total,
        ),
        rate=rates[str(training_type)],
        rounds=max(2, options.rounds // 3),
        deadline=deadline,
        **common,
    )
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "config": source,
        "settings": {
            "budget": options.budget,
            "rounds": options.rounds,
            "warmup": options.warmup,
            "rows": options.rows,
        },
        "matmul_tflops": {kind.removeprefix("torch."): round(rate / 1e12, 3) for kind, rate in rates.items()},
        "types": {"sampling": str(sampling_type), "training": str(training_type)},
        "unet": {name: {"macs": count.total, "parameters": count.parameters} for name, count in macs.items()},
        "macs_ratio": round(macs["pruned"].total / macs["dense"].total, 4),
        "sampling_step_batch_2": sampled,
        "training_step": trained,
    }


def _named(dense: Any, pruned: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("dense", dense), ("pruned", pruned)


def _copy(unet: Any, dtype: Any) -> Any:
    import copy

    return copy.deepcopy(unet).to(dtype).eval().requires_grad_(False)


def _release() -> None:
    import torch

    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _table(results: dict[str, Any]) -> str:
    lines = [f"{results['device']}, MACs ratio {results['macs_ratio']}, matmul {results['matmul_tflops']} TFLOP/s"]
    for part in ("sampling_step_batch_2", "training_step"):
        for name, found in results[part].items():
            if "error" in found:
                lines.append(f"{name:20} {found['error']}")
            else:
                spread = f"{found['min_ms']:.2f} to {found['max_ms']:.2f}"
                lines.append(
                    f"{name:20} {found['median_ms']:9.2f} ms ({spread}), {found['share_of_floor']:.1%} of floor"
                )
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stable Diffusion 2.1's UNet, dense and pruned, on one GPU.")
    parser.add_argument("--thin", action="store_true", help="thin width on the CPU, to test this script")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the UNet's config.json (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=0.58, help="MACs of the pruned UNet, as a share of the dense")
    parser.add_argument("--rounds", type=int, default=30, help="times each sampling step is run; training a third")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rows", type=int, default=8, help="batch of a training step")
    parser.add_argument("--limit-s", type=float, default=540, help="after this no further round begins")
    parser.add_argument("--wheels", type=Path, help="folder with wheels of diffusers and accelerate")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
