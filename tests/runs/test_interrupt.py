"""Ctrl-C and SIGTERM: noted between two steps of a run, and elsewhere an exception that unwinds what was begun."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pruneguard.runs.interrupt import Terminated, deferred_interrupt, terminable


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_signal_is_noted_and_the_second_interrupts(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(raised), deferred_interrupt() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        signal.raise_signal(number)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_sigterm_raises_what_ctrl_c_raises() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_nothing_changes() -> None:
    seen: list[object] = []

    def work() -> None:
        with terminable(), deferred_interrupt() as asked:
            seen.extend([asked(), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, signal.getsignal(signal.SIGTERM)]


def test_a_process_that_is_terminated_leaves_no_staging_folder(tmp_path: Path) -> None:
    code = f"""
import signal, sys, time
from pathlib import Path
from pruneguard.errors import DataError
from pruneguard.runs.aside import written_aside
from pruneguard.runs.interrupt import terminable
try:
    with terminable(), written_aside(Path({str(tmp_path / "cache")!r}), DataError, "cache") as aside:
        (aside / "half").write_text("x" * 1000)
        print("writing", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(143)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert [path.name.startswith(".cache.staging") for path in tmp_path.iterdir()] == [True]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert list(tmp_path.iterdir()) == []
