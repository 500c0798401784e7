"""Atomic replacement: a failure at any moment leaves the old content or the new, for folders, files and bundles."""

from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

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


# --- folders ---


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "engines"
    for text in ("first", "second"):
        with staging.folder_aside(target) as folder:
            assert list(folder.iterdir()) == []
            (folder / text).write_text(text)
            assert not (target / text).exists()
        assert [path.name for path in target.iterdir()] == [text]
    assert leftovers(target) == []
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "engines"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError, match="in the block"), staging.folder_aside(target) as folder:
        (folder / "half").touch()
        raise RuntimeError("in the block")
    assert [path.name for path in target.iterdir()] == ["old"]
    assert leftovers(target) == []


def test_the_check_comes_last_and_while_no_other_writer_can_swap(tmp_path: Path) -> None:
    target = tmp_path / "engines"
    seen: list[object] = []

    def check() -> None:
        seen.append((sorted(path.name for path in folder.iterdir()), held_by_another(tmp_path)))
        if len(seen) == 2:
            raise RuntimeError("changed meanwhile")

    with staging.folder_aside(target, check=check) as folder:
        (folder / "one").touch()
        assert not held_by_another(tmp_path)
    with pytest.raises(RuntimeError, match="changed meanwhile"), staging.folder_aside(target, check=check) as folder:
        (folder / "two").touch()
    assert seen == [(["one"], True), (["two"], True)]
    assert [path.name for path in target.iterdir()] == ["one"]
    assert leftovers(target) == []


def held_by_another(folder: Path) -> bool:
    """Whether a process that asks for the lock on `folder` would have to wait."""
    code = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/disk/file"), "/disk/file cannot be written (No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), "/disk/target cannot be written (No space left"),
        (SafetensorError("Error while serializing: I/O error: ... (os error 28)"), "/disk/target cannot be written ("),
    ],
)
def test_a_full_disk_is_told_from_other_failures(error: Exception, line: str) -> None:
    said = staging.write_failure(error, Path("/disk/target"))
    assert said.startswith(line)
    assert said.endswith(
        "(No space left on device); free some space or choose another disk; the earlier content is untouched"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (SafetensorError("Error while serializing: I/O error: ... (os error 13)"), "Permission denied"),
        (SafetensorError("Error while serializing: odd"), "Error while serializing: odd"),
        (OSError("odd"), "odd"),
    ],
)
def test_other_failures_ask_for_another_folder(error: Exception, reason: str) -> None:
    said = staging.write_failure(error, Path("/disk/target"))
    assert said == f"/disk/target cannot be written ({reason}); choose a folder that you may write to"


WITHOUT_LOCKS = """
    import sys
    sys.modules["fcntl"] = None  # as on a system that is not POSIX
    from pruneguard.bundle import Bundle
    from pruneguard.errors import BundleError
    Bundle.open(sys.argv[1]).verify()
    try:
        Bundle.open(sys.argv[1] + "-absent")
    except BundleError as error:
        print(error)
"""


def test_bundles_are_read_on_a_system_without_file_locks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WITHOUT_LOCKS), str(make(tmp_path / "b").path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "b-absent is not a bundle" in done.stdout


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


def test_a_file_of_a_closed_folder_is_staged_beside_that_folder(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()

    def refuse() -> None:
        raise RuntimeError("changed meanwhile")

    with staging.file_aside(folder / "index", beside=folder) as aside:
        aside.write_text("whole")
        assert aside.parent.parent == tmp_path
        assert list(folder.iterdir()) == []
    with pytest.raises(RuntimeError), staging.file_aside(folder / "index", beside=folder, check=refuse) as aside:
        aside.write_text("other")
    assert (folder / "index").read_text() == "whole"
    assert leftovers(folder) == []
