"""Scripts of the tests that fork processes: how they are run, ranked as by a launcher, and when they are killed."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_script(name: str, *arguments: object) -> str:
    """What a script of the tests prints, such as `tests.training.kill_run`. It must end well."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def moments(seconds: float, kills: int) -> Iterator[float]:
    """One random moment in each of `kills` equal parts of a run, shuffled; then any, until the caller has enough."""
    rng = random.Random(0)
    parts = [(part + rng.random()) / kills * seconds for part in range(kills)]
    rng.shuffle(parts)
    yield from parts
    while True:
        yield rng.uniform(0, seconds)


def fork_ranks(work: Callable[[int], None], processes: int, **environment: str) -> None:
    """Forks processes that do `work(rank)`, with the environment that torchrun gives them, and waits for them.

    A single process gets no such environment; `environment` is added to that of several.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), **environment}
    children = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            if processes > 1:
                numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                os.environ.update({name: str(value) for name, value in numbers.items()} | where)
            work(rank)
            os._exit(0)
        children.append(child)
    for _ in children:
        child, status = os.wait()
        if status:  # as a launcher does: the rest would wait for it
            for other in set(children) - {child}:
                os.kill(other, signal.SIGKILL)
        assert status == 0, status
