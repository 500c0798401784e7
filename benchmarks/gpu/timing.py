"""Interleaved timing, matmul rate and peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Step = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """A timed workload: `prepare` compiles or captures it and returns the step that one round runs.

    `macs` are the multiply-accumulates of one run; `note` says how they were counted if that is not obvious.
    """

    name: str
    prepare: Callable[[], Step]
    macs: int
    note: str = ""


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(step: Step, device: torch.device) -> float:
    """Seconds of one run; the device is idle before and after it."""
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - started


def matmul_rate(device: torch.device, dtype: torch.dtype, *, size: int, runs: int = 20) -> float:
    """FLOP/s of the product of two square matrices: 2 size^3 divided by the median time."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        torch.mm(a, b)
    return 2 * size**3 / statistics.median(clock(lambda: torch.mm(a, b), device) for _ in range(runs))


def measure(
    workloads: Sequence[Workload], *, device: torch.device, rate: float, rounds: int, warmup: int, deadline: float
) -> dict[str, dict[str, Any]]:
    """Times all workloads in turn, each once a round, so that a slower machine slows all of them alike.

    A workload that cannot be prepared is reported with its error. No round begins after `deadline` (of
    time.monotonic), except the first. `share_of_floor` is 2 MACs / `rate` divided by the median time; at 1 the machine
    would do nothing but matrix products.
    """
    results: dict[str, dict[str, Any]] = {}
    steps: dict[str, Step] = {}
    for workload in workloads:
        steps_or_error, results[workload.name] = _prepared(workload, device, warmup)
        if steps_or_error is not None:
            steps[workload.name] = steps_or_error
    times: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds):
        if done and time.monotonic() > deadline:
            break
        for name, step in steps.items():
            times[name].append(clock(step, device))
    for workload in workloads:
        if workload.name in times:
            results[workload.name] |= _summary(times[workload.name], workload, rate)
    return results


def _prepared(workload: Workload, device: torch.device, warmup: int) -> tuple[Step | None, dict[str, Any]]:
    before = 0
    if device.type == "cuda":
        synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    try:
        step = workload.prepare()
        for _ in range(warmup):
            step()
        synchronize(device)
    except Exception as error:  # compilers and captures raise many classes; the other workloads are still timed
        lines = str(error).strip().splitlines() or [""]
        return None, {"error": f"{type(error).__name__}: {lines[0][:300]}"}
    found: dict[str, Any] = {"prepare_s": round(time.perf_counter() - started, 3)}
    if device.type == "cuda":
        found["peak_mib_above_weights"] = round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)
    return step, found


def _summary(times: Sequence[float], workload: Workload, rate: float) -> dict[str, Any]:
    median, floor = statistics.median(times), 2 * workload.macs / rate
    summary = {
        "median_ms": round(median * 1e3, 4),
        "min_ms": round(min(times) * 1e3, 4),
        "max_ms": round(max(times) * 1e3, 4),
        "rounds": len(times),
        "gmacs": round(workload.macs / 1e9, 4),
        "floor_ms": round(floor * 1e3, 4),
        "share_of_floor": round(floor / median, 4),
    }
    return summary | ({"macs_are": workload.note} if workload.note else {})
