"""Writing aside and swapping in: failure at any moment leaves the old bundle or the new one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pruneguard import staging
from pruneguard.bundle import Bundle, BundleDraft, write_bundle
from pruneguard.errors import BundleError


def fill(draft: BundleDraft, text: str) -> None:
    for name in range(4):
        (draft.folder / f"part{name}").write_text(text)


def make(path: Path, text: str = "start") -> Bundle:
    with write_bundle(path) as draft:
        fill(draft, text)
    return Bundle.open(path)


def leftovers(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".")]


def test_of_two_writers_the_second_to_finish_gives_way(tmp_path: Path) -> None:
    path = make(tmp_path / "b").path
    with pytest.raises(BundleError, match="changed by another process"), write_bundle(path) as slow:
        fill(slow, "slow")
        fast = make(path, "fast")
    assert Bundle.open(path).digest == fast.digest
    assert leftovers(path) == []


def test_a_live_draft_is_not_cleaned_away_but_a_dead_one_is(tmp_path: Path) -> None:
    dead = tmp_path / ".b.staging-dead"
    dead.mkdir()
    (dead / "half").write_text("x")
    with write_bundle(tmp_path / "b") as first:
        fill(first, "first")
        with pytest.raises(RuntimeError), write_bundle(tmp_path / "b"):
            raise RuntimeError
        assert first.folder.is_dir()
        assert not dead.exists()
    Bundle.open(tmp_path / "b").verify()


def test_without_exchange_two_renames_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "b", "old")
    monkeypatch.setattr(staging, "exchange", lambda first, second: False)
    make(tmp_path / "b", "new").verify()
    assert (tmp_path / "b/part0").read_text() == "new"
    assert leftovers(tmp_path / "b") == []


def test_a_death_between_two_renames_is_undone(tmp_path: Path) -> None:
    old = make(tmp_path / "b")
    old.path.rename(tmp_path / ".b.retired-x")
    assert Bundle.open(tmp_path / "b").digest == old.digest
    old.path.rename(tmp_path / ".b.retired-x")
    with pytest.raises(RuntimeError), write_bundle(tmp_path / "b"):
        raise RuntimeError
    Bundle.open(tmp_path / "b").verify()


WRITER = """
    import sys, time
    from pathlib import Path
    from pruneguard import staging
    from pruneguard.bundle import write_bundle
    path, exchange = Path(sys.argv[1]), sys.argv[2] == "exchange"
    if not exchange:
        staging.exchange = lambda first, second: False
    while True:
        with write_bundle(path, base=path) as draft:
            text = f"{time.time_ns()}" * 1000
            for name in range(4):
                (draft.folder / f"part{name}").write_text(text)
        print("written", flush=True)
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_sigkill_at_any_moment_leaves_a_whole_bundle(tmp_path: Path, way: str) -> None:
    path = tmp_path / "b"
    make(path)
    moments = random.Random(0)
    seen = set()
    for _ in range(10):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), way]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
            time.sleep(moments.uniform(0.0, 0.1))
            writer.send_signal(signal.SIGKILL)
        bundle = Bundle.open(path)
        bundle.verify()
        seen.add(bundle.digest)
        assert len({bundle.manifest.files[f"part{name}"].sha256 for name in range(4)}) == 1
        assert len(leftovers(path)) <= 2
    assert len(seen) == 10
    with write_bundle(path, base=path):
        pass
    assert leftovers(path) == []


FULL = """
    import resource, sys
    from pruneguard.bundle import write_bundle
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with write_bundle(sys.argv[1], base=sys.argv[1]) as draft:
        (draft.folder / "large").write_bytes(bytes(100_000))
"""


def test_a_full_disk_is_said_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    old = make(tmp_path / "b")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(FULL), str(old.path)], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pruneguard.errors.BundleError") and "free some space" in last
    assert Bundle.open(old.path).digest == old.digest
    old.verify()
    assert leftovers(old.path) == []


# --- single files ---


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    for text in ("first", "second"):
        with staging.file_aside(path) as aside:
            aside.write_text(text)
            assert aside.name == "report.html"
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert leftovers(path) == []
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(RuntimeError), staging.file_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    with pytest.raises(FileNotFoundError), staging.file_aside(path):
        pass
    assert path.read_text() == "old"
    assert leftovers(path) == []


def test_two_writers_of_one_file_do_not_mix_and_a_dead_one_is_cleaned_up(tmp_path: Path) -> None:
    path, dead = tmp_path / "image.png", tmp_path / ".image.png.staging-dead"
    dead.mkdir()
    (dead / "image.png").write_text("half")
    with staging.file_aside(path) as slow:
        slow.write_text("slow, first ")
        with staging.file_aside(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
        with slow.open("a") as file:
            file.write("and last")
    assert path.read_text() == "slow, first and last"
    assert leftovers(path) == []


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(FileExistsError, match="not a file"), staging.file_aside(path) as aside:
            aside.write_text("x")
    assert not Path("/dev/null").is_file()
    assert leftovers(tmp_path / "x") == []
