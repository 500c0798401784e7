"""Denoising as a loop that rows join and leave: one step calls the UNet once for all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruneguard.errors import RequestError

from ..engines.engine import Engine, EngineError, finite_rows, run_engine
from .request import Guidance, check_cfg, check_guidance
from .solver import Array, Solver

Output = Array | EngineError
Ended = tuple[int, Output]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One image to denoise: standard normal noise (C, h, w), and text states `cond` and `uncond` (L, D).

    With guidance scale 1 `uncond` is not used and may be None.
    """

    noise: Array
    cond: Array
    uncond: Array | None
    solver: Solver[Any]
    guidance_scale: float


@dataclass(eq=False)
class _Running:
    """A row on its way; `call` is the number of its next UNet call."""

    cond: Array
    uncond: Array | None
    solver: Solver[Any]
    scale: np.float32
    sample: Array
    state: Any
    call: int = 0


class Denoising:
    """The rows that one UNet denoises together; each may stand at another step and have its own solver and scale.

    Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): e = e_u + g (e_c - e_u), where g is the row's
    scale; with g = 1 only e_c is computed. `cfg` "batched" makes one engine call for both halves, "sequential" two.

    A row's result does not depend on the other rows, up to the engine's own rounding in batches of another size. All
    rows belong to this object, so threads must not share it without a lock.
    """

    def __init__(self, unet: Engine, *, cfg: Guidance = "batched") -> None:
        """Raises RequestError for an unknown `cfg`."""
        self._unet = unet
        self._cfg = check_cfg(cfg)
        self._rows: dict[int, _Running] = {}
        self._tickets = count()

    @property
    def rows(self) -> tuple[int, ...]:
        """The tickets of the rows that have not ended, oldest first."""
        return tuple(self._rows)

    @property
    def active(self) -> int:
        """How many rows have not ended."""
        return len(self._rows)

    def add(self, row: Row) -> int:
        """Takes a row in, which starts with the next step, and returns its ticket.

        Raises RequestError for arrays of the wrong rank, a wrong scale, or a guided row without `uncond`.
        """
        if row.noise.ndim != 3 or row.cond.ndim != 2:
            raise RequestError(f"a row needs noise (C, h, w) and text states (L, D), not {_shapes(row)}")
        scale = check_guidance(row.guidance_scale)
        if scale != 1:
            if row.uncond is None:
                raise RequestError("guidance_scale other than 1 needs the unconditional text states")
            if row.uncond.shape != row.cond.shape:
                raise RequestError(f"text states must have one shape, not {row.cond.shape} and {row.uncond.shape}")
        ticket = next(self._tickets)
        self._rows[ticket] = _Running(
            cond=row.cond,
            uncond=None if scale == 1 else row.uncond,
            solver=row.solver,
            scale=np.float32(scale),
            sample=row.noise.astype(np.float32) * np.float32(row.solver.initial_sigma),
            state=row.solver.start(),
        )
        return ticket

    def drop(self, ticket: int) -> None:
        """Forgets a row. A ticket whose row has ended or was dropped already is ignored."""
        self._rows.pop(ticket, None)

    def step(self) -> list[Ended]:
        """Moves every row by one UNet call; rows of each latent size share one call.

        Returns the rows that end with this step: the ticket with the latents (C, h, w), or with the EngineError of a
        row whose call failed or gave values that are not finite. Rows that end are forgotten. If anything else is
        raised, no row has moved.
        """
        moved: dict[int, tuple[Array, Any] | EngineError] = {}
        for tickets in self._groups():
            moved.update(self._advance(tickets))
        ended: list[Ended] = []
        for ticket, result in moved.items():
            row = self._rows[ticket]
            if isinstance(result, EngineError):
                ended.append((ticket, result))
                continue
            row.sample, row.state = result
            row.call += 1
            if row.call == len(row.solver.timesteps):
                ended.append((ticket, row.sample))
        for ticket, _ in ended:
            del self._rows[ticket]
        return ended

    def _groups(self) -> list[list[int]]:
        """The tickets of rows whose arrays have the same shapes and can share a call."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for ticket, row in self._rows.items():
            groups.setdefault((*row.sample.shape, *row.cond.shape), []).append(ticket)
        return list(groups.values())

    def _advance(self, tickets: Sequence[int]) -> dict[int, tuple[Array, Any] | EngineError]:
        rows = [self._rows[ticket] for ticket in tickets]
        try:
            with_text, without = self._predict(rows)
        except EngineError as error:
            return dict.fromkeys(tickets, error)
        moved: dict[int, tuple[Array, Any] | EngineError] = {}
        for index, (ticket, row) in enumerate(zip(tickets, rows, strict=True)):
            moved[ticket] = _moved(row, with_text[index], without.get(index))
        return moved

    def _predict(self, rows: Sequence[_Running]) -> tuple[list[Output], dict[int, Output]]:
        """e_c (C, h, w) of every row, and e_u of the guided ones by their index."""
        samples = [row.solver.scale_input(row.sample, row.call) for row in rows]
        timesteps = [row.solver.timesteps[row.call] for row in rows]
        states = [row.cond for row in rows]
        guided = [index for index, row in enumerate(rows) if row.uncond is not None]
        unconditional = [row.uncond for row in rows if row.uncond is not None]
        half = [samples[index] for index in guided], [timesteps[index] for index in guided]
        if self._cfg == "batched" or not guided:
            outputs = self._call(half[0] + samples, half[1] + timesteps, unconditional + states)
            without, with_text = outputs[: len(guided)], outputs[len(guided) :]
        else:
            # The first output is copied: an engine may write the second one into the same buffer.
            without = self._call(*half, unconditional).copy()
            with_text = self._call(samples, timesteps, states)
        return finite_rows("the UNet", with_text), dict(zip(guided, finite_rows("the UNet", without), strict=True))

    def _call(self, samples: Sequence[Array], timesteps: Sequence[float], states: Sequence[Array]) -> Array:
        inputs: dict[str, NDArray[Any]] = {
            "sample": np.stack(samples),
            "timestep": np.asarray(timesteps, dtype=np.float32),
            "encoder_hidden_states": np.stack(states),
        }
        return run_engine(self._unet, "the UNet", inputs, "out_sample", inputs["sample"].shape)


def _moved(row: _Running, with_text: Output, without: Output | None) -> tuple[Array, Any] | EngineError:
    """The row's next sample and state, or the error of its outputs or of a sample that left the range of float32."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        output = _guided(with_text, without, row.scale)
        if isinstance(output, EngineError):
            return output
        sample, state = row.solver.step(row.state, output, row.sample)
    if not np.isfinite(sample).all():
        return EngineError("the UNet gave values too large to denoise with; check the engine's precision")
    return sample, state


def _guided(with_text: Output, without: Output | None, scale: np.float32) -> Output:
    """The guided prediction (C, h, w) of e_c and, for a guided row, e_u, in memory of its own; or their error."""
    if isinstance(with_text, EngineError) or without is None:
        return with_text if isinstance(with_text, EngineError) else np.array(with_text)
    if isinstance(without, EngineError):
        return without
    mixed: Array = without + scale * (with_text - without)
    return mixed


def _shapes(row: Row) -> str:
    return f"{row.noise.shape} and {row.cond.shape}"
