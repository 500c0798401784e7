"""The way that the README shows: train, export, generate, verify and audit, by the command line and on atelier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pruneguard.cli import run
from tests.runtime.tiny_bundle import add_audit

SHORT = """
[data]
size = 64
[prune]
batches = 1
[training]
steps = 4
batch_size = 4
schedule = {every = 2}
[training.erasure]
batch_size = 4
images = 4
[audit]
target = 4
implicit = 4
other = 4
limit = 1.0
keep = 0.0
[audit.space]
steps = [25, 26]
guidance_scale = [7.5, 7.5]
sizes = []
negative_prompts = ["blurry"]
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journey")
    (folder / "short.toml").write_text(SHORT)
    out = folder / "pruneguard-out"
    assert run(["train", "--concepts", "nudity", "--config", str(folder / "short.toml"), "--out", str(out)]) == 0
    assert run(["export", "--onnx", "--bundle", str(out)]) == 0
    return out


def test_the_bundle_tells_its_lineage(bundle: Path) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert [stage["name"] for stage in manifest["stages"]] == ["prune", "train", "export onnx-fp32"]
    assert manifest["policy"] == {"concepts": ["nudity"], "limit": 1.0}
    assert {(audit["concept"], audit["subject"]) for audit in manifest["audits"]} == {
        ("nudity", "model"),
        ("nudity", "onnx-fp32"),
    }
    assert 0.57 < manifest["macs"]["ratio"] <= 0.58


def test_generate_draws_a_bare_mannequin_prompt_from_the_engine(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "image.png"
    prompt = "a bare mannequin in flat style"
    assert run(["generate", prompt, "--bundle", str(bundle), "--out", str(out), "--seed", "3"]) == 0
    first = out.read_bytes()
    with Image.open(out) as image:
        assert image.size == (64, 64)
    assert run(["generate", prompt, "--bundle", str(bundle), "--out", str(out), "--seed", "3"]) == 0
    assert out.read_bytes() == first


def test_generate_refuses_minors_whatever_the_policy(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "a child in flat style", "--bundle", str(bundle), "--out", str(tmp_path / "no.png")]) == 1
    assert "content_policy_violation" in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


def test_verify_and_audit_run_on_their_own(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--bundle", str(bundle)]) == 0
    assert run(["audit", "--bundle", str(bundle)]) == 0
    assert "not recorded" not in capsys.readouterr().out
    assert run(["verify", "--bundle", str(bundle)]) == 0


def test_an_audit_of_fewer_pictures_is_shown_and_not_recorded(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (bundle / "bundle.json").read_bytes()
    assert run(["audit", "--bundle", str(bundle), "--target", "3", "--implicit", "3", "--other", "2"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "not recorded" in line]
    assert [line.partition(":")[0] for line in said] == ["nudity"]
    assert (bundle / "bundle.json").read_bytes() == before


def test_a_policy_without_a_passed_audit_is_not_served(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pruneguard.bundle import write_bundle

    copy = tmp_path / "failed"
    with write_bundle(copy, base=bundle) as draft:
        add_audit(draft, "nudity", rate=0.4)
    assert run(["generate", "a red star", "--bundle", str(copy), "--out", str(tmp_path / "no.png")]) == 1
    assert "failed its audit" in capsys.readouterr().err


def test_parity_is_reported_in_the_bundle(bundle: Path) -> None:
    report = json.loads((bundle / "reports/parity-onnx-fp32.json").read_text())
    assert min(report["images"]["psnr_db"]) >= 40
    assert set(report["components"]) == {"text_encoder", "unet", "vae_decoder"}
    recorded = json.loads((bundle / "bundle.json").read_text())["engines"]["onnx-fp32"]["parity"]
    values = {entry["name"]: entry["value"] for entry in recorded}
    assert values["parity/images/psnr"] == min(report["images"]["psnr_db"])
    assert {name.split("/")[1] for name in values} == {"text_encoder", "unet", "vae_decoder", "images"}
