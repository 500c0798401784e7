"""Whatever goes wrong: one clear line, an exit code, and nothing lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pruneguard.cli import run
from pruneguard.concepts import Concept
from pruneguard.evaluation.detectors.detector import Images
from tests.cli.checks import POINTER, UNET, Fails, digests, one_line

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from pruneguard.cli import run
sys.exit(run(sys.argv[2:]))
"""


def limited(*arguments: object, largest_file: int) -> subprocess.CompletedProcess[str]:
    """A command in a process whose files may have `largest_file` bytes at most, as on a disk that runs full."""
    given = map(str, (largest_file, *arguments))
    return subprocess.run([sys.executable, "-c", LIMITED, *given], capture_output=True, text=True, check=False)


# --- options ---


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "generate" in shown.out


def test_control_codes_of_file_names_do_not_reach_the_terminal(fails: Fails, tmp_path: Path) -> None:
    said = fails("verify", "--bundle", tmp_path / "a\x1b[31mb\x07")
    assert "a\ufffd[31mb\ufffd is not a bundle" in said


def test_a_concept_that_is_not_there_names_those_that_are_near(fails: Fails, tmp_path: Path) -> None:
    said = fails("train", "--concepts", "hatchng", "--out", tmp_path / "out")
    assert said.startswith("no concept 'hatchng' for atelier models: did you mean 'hatching'")
    assert "mosaic" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("frobnicate",), 2, "No such command 'frobnicate'"),
        (("train", "--colour", "red"), 2, "No such option '--colour'"),
        (("train", "--steps", "0"), 2, "Invalid value for '--steps'"),
        (("train", "--budget", "1.5"), 2, "Invalid value for '--budget'"),
        (("train", "--criterion", "random"), 1, "unknown criterion 'random': choose from magnitude, taylor"),
        (("train", "--concepts", " , "), 2, "it names nothing; give at least one name, or leave the option out"),
        (("train", "--concepts", "none.toml"), 1, "concept file none.toml does not exist"),
        (("train", "--config", "none.toml"), 1, "--config none.toml cannot be read"),
        (("export",), 2, "say what to export: --onnx"),
        (("audit", "--target", "0"), 2, "Invalid value for '--target'"),
        (("audit", "--bundle", "none"), 1, "/none is not a bundle"),
        (
            ("verify", "--bundle", "none"),
            1,
            "/none is not a bundle: it has no bundle.json; `pruneguard train`",
        ),
        (("export", "--onnx", "--bundle", "none"), 1, "/none is not a bundle"),
        (("generate", "a red star", "--bundle", "none"), 1, "/none is not a bundle"),
        (("demo", "--concepts", "flat,glow"), 1, "the demo suppresses one concept"),
        (("demo", "--concepts", "flt"), 1, "no concept 'flt' for atelier models: did you mean 'flat'"),
    ],
)
def test_a_wrong_option_is_named(
    fails: Fails,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in fails(*arguments, code=code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[training\n", "settings.toml is not valid TOML"),
        ("training = 3\n", "'training' is 3; it must be a table, [training]"),
        ("[trainig]\n", "unknown setting 'trainig': did you mean 'training'"),
        ("[training]\nstep = 3\n", "unknown setting 'step': did you mean 'steps'"),
        ("[training]\nsteps = 'many'\n", "training: `steps`: Expected `int`, got `str`"),
        ("[training]\nlower = {lr = -1.0}\n", "`lr` is -1.0; it must be above 0"),
        ("[prune]\nbudget = 'half'\n", "prune: `budget`: Expected `float`, got `str`"),
        ("[prune]\nbudget = 0.0\n", "`budget` is 0.0; it must be above 0"),
        ("[audit]\nlimit = 2.0\n", "limit must lie between 0 and 1, not 2.0"),
    ],
)
def test_a_wrong_configuration_is_named(fails: Fails, tmp_path: Path, text: str, expected: str) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    assert expected in fails("train", "--concepts", "hatching", "--config", config, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--height", "63"), "height must be a multiple of 16 pixels for this model, not 63"),
        (("--out", "star.xyz"), "'.xyz' is not a picture format; try .png"),
        (("--steps", "0"), "Invalid value for '--steps'"),
        (("--guidance-scale", "-1"), "Invalid value for '--guidance-scale'"),
        (("--seed", "-3"), "Invalid value for '--seed'"),
    ],
)
def test_a_wrong_request_is_named(
    fails: Fails, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = digests(tmp_path)
    usage = 2 if expected.startswith(("Invalid", "'.xyz")) else 1
    assert expected in fails("generate", "a red star", "--bundle", bundle, "--allow-unaudited", *options, code=usage)
    assert digests(tmp_path) == before


def test_a_refused_prompt_is_an_error_and_no_picture(fails: Fails, bundle: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "image.png")
    said = fails("generate", "a bare mannequin, a child", "--bundle", bundle, "--allow-unaudited", *out)
    assert said.endswith("[content_policy_violation]")
    assert not (tmp_path / "image.png").exists()


# --- models ---


def test_a_model_that_is_not_there(fails: Fails, tmp_path: Path) -> None:
    said = fails("prune", "--model", tmp_path / "nowhere", "--criterion", "magnitude", "--out", tmp_path / "out")
    assert said.startswith(f'{tmp_path / "nowhere"}: no such folder; give "atelier", a diffusers folder')
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_a_git_lfs_pointer(fails: Fails, tmp_path: Path, tiny_folder: Path) -> None:
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_text(POINTER)
    said = fails("prune", "--model", model, "--criterion", "magnitude", "--out", tmp_path / "out")
    assert (
        "unet/diffusion_pytorch_model.safetensors: a Git LFS pointer, not the file itself; run `git lfs pull`" in said
    )
    assert not (tmp_path / "out").exists()


def test_a_model_without_data(fails: Fails, tmp_path: Path, tiny_folder: Path) -> None:
    said = fails("train", "--model", tiny_folder, "--out", tmp_path / "out")
    assert said.startswith("--data is missing: give a folder of images with metadata.jsonl, coco, or synthetic")
    assert list(tmp_path.iterdir()) == []


# --- folders and disks ---


def _unwritable(tmp_path: Path) -> Iterator[Path]:
    """Folders in which nothing can be made, for root as for others."""
    file = tmp_path / "file"
    file.write_text("kept")
    yield file / "out"
    yield file
    yield Path("/proc/pruneguard/out")
    if os.geteuid():
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o555)
        yield locked / "out"


@pytest.mark.parametrize("command", ["prune", "train"])
def test_a_folder_that_cannot_be_written_is_named(
    fails: Fails, tmp_path: Path, tiny_folder: Path, pictures: Path, command: str
) -> None:
    for out in _unwritable(tmp_path):
        said = fails(command, "--model", tiny_folder, "--data", pictures, "--criterion", "magnitude", "--out", out)
        assert str(out.parent if out.name == "out" else out) in said
        assert "choose" in said
    assert (tmp_path / "file").read_text() == "kept"


def test_a_picture_that_cannot_be_written(fails: Fails, bundle: Path, tmp_path: Path) -> None:
    for folder in _unwritable(tmp_path):
        out = ("--out", folder / "image.png")
        said = fails("generate", "a red star", "--bundle", bundle, "--allow-unaudited", *out)
        assert said.startswith(f"--out {folder / 'image.png'} cannot be written")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_is_no_bundle_is_never_replaced(fails: Fails, tmp_path: Path, tiny_folder: Path) -> None:
    out = tmp_path / "photographs"
    out.mkdir()
    (out / "wedding.jpg").write_text("kept")
    said = fails("prune", "--model", tiny_folder, "--criterion", "magnitude", "--out", out)
    assert "It was kept: choose another folder, or move this one away" in said
    assert digests(tmp_path) == {"photographs/wedding.jpg": hashlib.sha256(b"kept").hexdigest()}


@pytest.mark.parametrize("command", ["prune", "train", "export"])
def test_a_full_disk_leaves_the_earlier_bundle(
    tmp_path: Path, tiny_folder: Path, pictures: Path, bundle: Path, settings: Path, command: str
) -> None:
    """No file may grow beyond half of the UNet's weights."""
    made_from = ("--model", tiny_folder, "--data", pictures, "--criterion", "magnitude", "--out", bundle)
    arguments: dict[str, tuple[object, ...]] = {
        "prune": ("prune", *made_from),
        "train": ("train", *made_from, "--config", settings),
        "export": ("export", "--onnx", "--bundle", bundle),
    }
    before = digests(bundle)
    done = limited(*arguments[command], largest_file=(bundle / UNET).stat().st_size // 2)
    said = one_line(done.stderr, done.returncode)
    assert "free" in said
    assert digests(bundle) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert run(["verify", "--bundle", str(bundle)]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("command", ["prune", "train"])
def test_a_full_file_system(
    fails: Fails, small_disk: Path, tiny_folder: Path, pictures: Path, settings: Path, command: str
) -> None:
    made_from = ("--model", tiny_folder, "--data", pictures, "--criterion", "magnitude", "--out", small_disk / "out")
    said = fails(command, *made_from, *(("--config", settings) if command == "train" else ()))
    assert "free" in said
    assert not (small_disk / "out").exists()


# --- training ---


class SeesAll:
    """A detector to which every picture shows the concept."""

    name = "sees-all"

    def check(self, concept: Concept) -> None:
        return None

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        return np.ones(len(images), dtype=bool)


class SeesNothing(SeesAll):
    """A detector to which no picture shows the concept."""

    name = "sees-nothing"

    def detect(self, images: Images, concept: Concept) -> NDArray[np.bool_]:
        return ~super().detect(images, concept)


def test_a_training_that_did_not_suppress_is_an_error_and_keeps_what_it_made(
    fails: Fails,
    tiny_folder: Path,
    pictures: Path,
    concept: Path,
    settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pruneguard.stages.train.find_detectors", lambda *_: {"glow": SeesAll()})
    out, options = tmp_path / "out", ("--data", pictures, "--concepts", concept, "--config", settings)
    said = fails("train", "--model", tiny_folder, *options, "--out", out)
    reason = "100.0% (at most 100.0%) drawn, limit 5.0%"
    assert said.startswith(
        f"{out} was written and its audit failed (glow: {reason}); the runtime will refuse it: train"
    )
    assert (out / "model" / "unet").is_dir()
    assert f"'glow' failed its audit ({reason})" in fails("verify", "--bundle", out)


def test_a_detector_that_sees_nothing_is_an_error_before_the_training(
    fails: Fails,
    tiny_folder: Path,
    pictures: Path,
    concept: Path,
    settings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pruneguard.stages.train.find_detectors", lambda *_: {"glow": SeesNothing()})
    monkeypatch.setattr(
        "pruneguard.stages.train.train_until_proved", lambda *_, **__: pytest.fail("the training began")
    )
    out, options = tmp_path / "out", ("--data", pictures, "--concepts", concept, "--config", settings)
    said = fails("train", "--model", tiny_folder, *options, "--out", out)
    assert said.startswith("an audit of 'glow' would show nothing: its detector sees the concept in 0.0% of the")
    assert said.endswith("[audit_invalid]")
    assert not out.exists()


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_loss_that_is_not_a_number_stops_the_run(
    fails: Fails, bundle: Path, tiny_folder: Path, pictures: Path, settings: Path, concept: Path
) -> None:
    settings.write_text(
        settings.read_text().replace("lower = {lr = 1e-3, warmup = 1}", "lower = {lr = 1e30, warmup = 0}")
    )
    before = digests(bundle)
    given = ("--model", tiny_folder, "--data", pictures, "--criterion", "magnitude", "--concepts", concept)
    said = fails("train", *given, "--config", settings, "--out", bundle)
    assert "level's loss is nan: lower its learning rate; the last good checkpoint is " in said
    checkpoint = Path(said.partition("the last good checkpoint is ")[2].removesuffix(" [training_failed]"))
    assert (checkpoint / "weights.safetensors").is_file()
    assert digests(bundle) == before
