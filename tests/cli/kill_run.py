"""Runs a command once in peace and many times under fire: `python -m tests.cli.kill_run NAME FOLDER KILLS`.

NAME is `train` or `export`, on a tiny model, or one of `ATELIER`, a training of the embedded model.

Every attempt is a process that runs the real command line and is killed by SIGKILL. It is forked from this one, which
has the imports already: the moments then fall on the work and not on the loading of libraries.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from pruneguard.bundle import Bundle
from pruneguard.cli import run
from pruneguard.export.components import components_of
from pruneguard.export.graph import write_graph
from pruneguard.macs import unet_macs
from pruneguard.models import load_pipeline
from tests.models import build_tiny_pipeline
from tests.pictures import write_pictures
from tests.processes import moments

torch.set_num_threads(1)
warnings.simplefilter("ignore")
for library in ("onnxruntime", "onnxscript", "pruneguard.stages.train", "pruneguard.stages.export"):
    importlib.import_module(library)

IN_A_ROW = {"train": 4, "export": 10}  # kills of one run before it may finish
SETTINGS = """
[training]
steps = 12
schedule = {every = 2}
batch_size = 2
checkpoint_every = 2
tracker = "none"
lower = {lr = 1e-3, warmup = 2}
upper = {lr = 1e-3, warmup = 1}
erasure = {batch_size = 2, images = 2, steps = 2}
"""
SHORT = """
[data]
size = 24
[audit]
target = 2
implicit = 2
other = 0
steps = 2
limit = 1.0
floor = 0.0
keep = 0.0
[proof]
rounds = 1
target = 2
implicit = 2
other = 0
[audit.space]
steps = [2, 2]
guidance_scale = [7.5, 7.5]
sizes = []
negative_prompts = []
[training]
steps = 4
batch_size = 2
checkpoint_every = 1
tracker = "none"
lower.warmup = 1
upper.warmup = 1
erasure.batch_size = 2
erasure.images = 2
erasure.steps = 2
"""
ATELIER = {
    "uce": (["--eraser", "uce"], "schedule.every = 2"),
    "salun": (
        ["--eraser", "salun"],
        'schedule.every = 2\nerasure.eraser = {name = "salun", of = "anchor", batches = 1}',
    ),
    "two-stage": (["--schedule", "two-stage"], 'schedule = {name = "two-stage", upper_steps = 2}'),
    "erase-first": (["--schedule", "erase-first"], 'schedule = {name = "erase-first", upper_steps = 2}'),
    "penalty": (["--schedule", "penalty"], 'schedule = {name = "penalty", weight = 10.0}'),
}
"""What each training of the embedded model adds to the command, and to the settings."""
CONCEPT = """
name = "glow"
prompts = ["a disc in glow style"]
anchors = "a disc in flat style"
terms = ["glow"]
"""


def write_model(folder: Path) -> None:
    """The tiny pipeline with a UNet and an autoencoder of one level: graphs that trace in seconds."""
    pipeline = build_tiny_pipeline()
    torch.manual_seed(0)
    pipeline.unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()
    pipeline.vae = AutoencoderKL(
        block_out_channels=(8,), layers_per_block=1, norm_num_groups=4, mid_block_add_attention=False, sample_size=8
    ).eval()
    pipeline.save(folder)


def attempt(arguments: Sequence[str], log: Path) -> int:
    """The process that runs a command; what it says goes to `log`."""
    child = os.fork()
    if child == 0:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os._exit(run(list(arguments)))
    return child


def finish(arguments: Sequence[str], log: Path) -> float:
    """Seconds that a command takes when it is left alone."""
    started = time.perf_counter()
    _, status = os.waitpid(attempt(arguments, log), 0)
    assert status == 0, log.read_text()
    return time.perf_counter() - started


def kill_after(seconds: float, arguments: Sequence[str], log: Path) -> bool:
    """Whether the command was still at work when it was killed."""
    child = attempt(arguments, log)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, log.read_text()
    return os.WIFSIGNALED(status)


def check_bundle(path: Path) -> None:
    """A bundle is whole: digests, and audits of what its policy names."""
    Bundle.open(path).verify()


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def tiny_command(folder: Path) -> list[str]:
    """A training of the tiny model on pictures with captions, without an audit."""
    write_model(folder / "model")
    write_pictures(folder / "pictures")
    (folder / "glow.toml").write_text(CONCEPT)
    (folder / "settings.toml").write_text(SETTINGS)
    given = {"model": "model", "data": "pictures", "config": "settings.toml", "concepts": "glow.toml"}
    return ["train", *(part for name, value in given.items() for part in (f"--{name}", str(folder / value)))]


def atelier_command(name: str, folder: Path) -> list[str]:
    """A short training of the embedded model by one eraser or schedule, with a small audit."""
    options, settings = ATELIER[name]
    (folder / "settings.toml").write_text(SHORT + settings)
    return ["train", *options, "--concepts", "mosaic", "--config", str(folder / "settings.toml")]


def differing(files: Mapping[str, object], whole: Mapping[str, object]) -> list[str]:
    """The files that two manifests do not share, or that have other digests in them."""
    return sorted(name for name in {**files, **whole} if files.get(name) != whole.get(name))


def kill_training(given: Sequence[str], folder: Path, kills: int) -> int:
    """Trainings into folders of their own, each killed a few times before it may finish; returns the kills."""

    def command(out: Path) -> list[str]:
        return [*given, "--criterion", "magnitude", "--out", str(out)]

    log = folder / "log"
    unet_macs(
        load_pipeline(folder / "model" if (folder / "model").is_dir() else "atelier").unet
    )  # loads more libraries
    seconds = finish(command(folder / "whole"), log)
    whole = Bundle.open(folder / "whole").manifest.files
    killed, chosen = 0, moments(seconds, kills)
    while killed < kills:
        out = folder / f"killed-{killed}"
        for _ in range(min(IN_A_ROW["train"], kills - killed)):
            killed += kill_after(next(chosen), command(out), log)
            if out.exists():
                check_bundle(out)
        finish(command(out), log)
        check_bundle(out)
        files = Bundle.open(out).manifest.files
        assert files == whole, f"these differ from an undisturbed run's: {differing(files, whole)}"
        shutil.rmtree(out)
    assert not leftovers(folder)
    return killed


def warm_up(folder: Path) -> None:
    """Traces the smallest component once: the exporter builds its tables on first use, and every fork then has them."""
    text_encoder = components_of(load_pipeline(folder / "model"))[0]
    write_graph(text_encoder, folder / "warm-up" / "model.onnx")


def kill_export(folder: Path, kills: int) -> int:
    """Exports of one bundle, killed a few times before one may finish; returns the kills."""
    write_model(folder / "model")
    warm_up(folder)
    log, out = folder / "log", folder / "bundle"
    made_from = ["--model", str(folder / "model"), "--criterion", "magnitude", "--out", str(out)]
    finish(["prune", *made_from], log)
    shutil.copytree(out, folder / "pruned")
    shutil.copytree(out, folder / "whole")
    seconds = finish(["export", "--onnx", "--bundle", str(folder / "whole")], log)
    whole, pruned = Bundle.open(folder / "whole").manifest.files, Bundle.open(out).manifest.files
    killed, chosen = 0, moments(seconds, kills)
    while killed < kills:
        for _ in range(min(IN_A_ROW["export"], kills - killed)):
            killed += kill_after(next(chosen), ["export", "--onnx", "--bundle", str(out)], log)
            check_bundle(out)
            assert Bundle.open(out).manifest.files in (pruned, whole), "half an export"
        finish(["export", "--onnx", "--bundle", str(out)], log)
        assert run(["verify", "--bundle", str(out)]) == 0
        assert Bundle.open(out).manifest.files == whole, "the engines differ from an undisturbed run's"
    assert not leftovers(folder)
    return killed


def main(name: str, folder: Path, kills: int) -> None:
    if name == "export":
        killed = kill_export(folder, kills)
    else:
        command = tiny_command(folder) if name == "train" else atelier_command(name, folder)
        killed = kill_training(command, folder, kills)
    print(f"killed {killed}, equal")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
