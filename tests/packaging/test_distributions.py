"""What people install: an sdist, the wheel made from it, and that wheel in an environment without torch.

Nothing is downloaded: the clean environment is given links to the packages that the wheel's own metadata asks for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

from pruneguard.bundle import write_bundle
from pruneguard.runtime import GuardedSampler
from tests.runtime.tiny_bundle import add_audit, fill_draft

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
SOURCES = {"pruneguard": "pruneguard", "export": "pruneguard/export", "runtime": "pruneguard/runtime"}
TORCH_STACK = ("torch", "diffusers", "transformers", "accelerate", "onnx", "safetensors")
GENERIC = ("export", "runtime", "tests", "benchmarks", "machine")

BACKEND = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
IMPORT_ALL = """
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
import pruneguard
names = [entry.name for entry in pkgutil.walk_packages(pruneguard.__path__, "pruneguard.")]
names = [name for name in names if not name.endswith("__main__")]
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""
DRAW = """
import hashlib, json, sys
from importlib.util import find_spec
from pruneguard.runtime import GuardedSampler
result = GuardedSampler.from_bundle(sys.argv[1])("a red star", seed=3)
print(json.dumps({
    "pixels": hashlib.sha256(result.images[0].tobytes()).hexdigest(),
    "found": [name for name in sys.argv[2:] if find_spec(name)],
    "loaded": [name for name in sys.argv[2:] if name in sys.modules],
}))
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed, with nothing of ours on the module path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """The sdist or wheel that the project's own backend makes of `source`."""
    out.mkdir(exist_ok=True)
    return out / run(sys.executable, "-c", BACKEND, f"build_{kind}", out, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, links and all, so that nothing is written into it."""
    pytest.importorskip("setuptools", minversion="77", reason="building needs setuptools 77")
    folder = tmp_path_factory.mktemp("sdist")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "pruneguard-*")
    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=left_out)
    return build("sdist", folder / "checkout", folder / "dist")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Built from the sdist alone."""
    folder = sdist.parents[1] / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / sdist.name.removesuffix(".tar.gz"), sdist.parent)


@pytest.fixture(scope="module")
def clean(wheel: Path) -> Path:
    """The Python of an environment that holds the wheel, its requirements with the extra `cpu`, and nothing else."""
    folder = wheel.parents[1] / "clean"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    for name in requirements(wheel, extra="cpu"):
        link(name, site)
    options = ("--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    return python


def requirements(wheel: Path, extra: str) -> set[str]:
    """Names of all distributions that the wheel needs, directly or not."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    waiting = [line for line in asked if "extra ==" not in line or f'extra == "{extra}"' in line]
    found: set[str] = set()
    while waiting:
        line = waiting.pop()
        name = re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0]
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            # Markers are not evaluated here: what is for other systems or Pythons is not installed.
            assert ";" in line, f"{name} is required and not installed here"
            continue
        if name.lower() not in found:
            found.add(name.lower())
            waiting += [entry for entry in needed if "extra ==" not in entry]
    return found


def link(name: str, site: Path) -> None:
    """Links the top-level files and folders of an installed distribution into another environment."""
    distribution = metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        target = Path(str(distribution.locate_file(top)))
        if not (site / top).exists():
            (site / top).symlink_to(target)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole audited bundle whose engines have a few nodes each."""
    path = tmp_path_factory.mktemp("bundle") / "tiny"
    with write_bundle(path) as draft:
        fill_draft(draft)
        add_audit(draft)
    return path


def files_of(*suffixes: str) -> set[str]:
    """The checkout's files with these endings, by the place where they are installed."""
    return {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in SOURCES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.name.endswith(suffixes) and path.relative_to(ROOT / folder).parts[0] not in SOURCES
    }


def test_the_sdist_holds_plain_files_only(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    names = {member.name.partition("/")[2] for member in members}
    assert names >= {"export/onnx.py", "runtime/sampling/sampler.py", "pyproject.toml", "LICENSE", "README.md"}


def test_the_wheel_holds_every_module_and_all_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = files_of(".toml", ".html", "py.typed", ".safetensors")
    assert data >= {"pruneguard/py.typed", "pruneguard/evaluation/report.html", "pruneguard/concepts/nudity.toml"}
    assert files_of(".py") | data <= names
    weights = {name for name in files_of("") if name.startswith("pruneguard/atelier/weights/")}
    assert weights <= names
    assert {name.split("/")[0] for name in names} == {"pruneguard", wheel.name.rsplit("-", 3)[0] + ".dist-info"}


def test_the_weights_of_the_embedded_model_are_in_the_wheel(wheel: Path) -> None:
    folder = "pruneguard/atelier/weights"
    if not (ROOT / folder / "unet").is_dir():
        pytest.skip("atelier's weights are not in this checkout")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = ("unet/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer/tokenizer.json")
    assert {f"{folder}/{name}" for name in (*expected, "oracle.safetensors", "model_index.json")} <= names


def test_every_module_of_the_wheel_imports(wheel: Path, tmp_path: Path) -> None:
    """In this environment, which has torch, but from the wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    found = json.loads(run(sys.executable, "-c", IMPORT_ALL, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")))
    assert len(found) == len(files_of(".py")) - 2  # all but pruneguard itself and __main__
    assert [name for name, file in found.items() if not Path(file).is_relative_to(tmp_path)] == []


def test_the_base_install_draws_without_torch(clean: Path, bundle: Path, tmp_path: Path) -> None:
    seen = json.loads(run(clean, "-c", DRAW, bundle, *TORCH_STACK, cwd=tmp_path))
    here = GuardedSampler.from_bundle(bundle)("a red star", seed=3).images[0]
    assert seen == {"pixels": hashlib.sha256(here.tobytes()).hexdigest(), "found": [], "loaded": []}


def test_the_base_install_has_the_command(clean: Path, bundle: Path, tmp_path: Path) -> None:
    command = clean.with_name("pruneguard")
    run(command, "verify", "--bundle", bundle, cwd=tmp_path)
    run(command, "generate", "a red star", "--bundle", bundle, "--seed", "3", cwd=tmp_path)
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
    done = subprocess.run([command, "train", "--concepts", "hatching"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: \w+ is not installed; run `pip install 'pruneguard\[\w+\]'`\n", done.stderr)


def test_nothing_generic_can_be_imported(clean: Path, tmp_path: Path) -> None:
    code = "import sys; from importlib.util import find_spec; print([name for name in sys.argv[1:] if find_spec(name)])"
    for python in (clean, Path(sys.executable)):
        assert run(python, "-c", code, *GENERIC, cwd=tmp_path) == "[]\n"
