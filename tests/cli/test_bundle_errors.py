"""A bundle that is harmed, unaudited or not what it should be: refused in one line, and left as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pruneguard.bundle import Audit, Policy, Space, Stage, write_bundle
from pruneguard.cli import run
from pruneguard.evaluation.audit import AuditResult
from pruneguard.measurement import Measurement, Protocol
from pruneguard.stages.auditing.record import Judged
from tests.cli.checks import UNET, Fails, digests
from tests.runtime.tiny_bundle import add_audit


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _grow(path: Path) -> None:
    path.with_name("extra.json").write_text("{}")


def _link(path: Path) -> None:
    moved = path.parents[3] / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)


ENGINE = "engines/onnx-fp32"

COMMANDS = {
    "verify": ("verify", "--bundle", "{bundle}"),
    "generate": ("generate", "a red star", "--bundle", "{bundle}", "--out", "{bundle}.png", "--allow-unaudited"),
    "export": ("export", "--onnx", "--bundle", "{bundle}"),
    "audit": ("audit", "--bundle", "{bundle}", "--subject", "model"),
}


def _command(name: str, bundle: Path) -> list[str]:
    return [part.format(bundle=bundle) for part in COMMANDS[name]]


def test_a_whole_bundle_verifies_and_draws(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(_command("verify", bundle)) == 0
    assert run([*_command("generate", bundle), "--seed", "3"]) == 0
    assert capfd.readouterr().err == ""
    assert Path(f"{bundle}.png").stat().st_size > 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("harm", "file", "expected"),
    [
        (_truncate, UNET, f"changed: {UNET}"),
        (_flip, UNET, f"changed: {UNET}"),
        (_flip, f"{ENGINE}/unet/model.onnx", f"changed: {ENGINE}/unet/model.onnx"),
        (Path.unlink, f"{ENGINE}/vae_decoder/model.onnx", f"missing: {ENGINE}/vae_decoder/model.onnx"),
        (_grow, UNET, "model/unet/extra.json"),
        (_link, UNET, f"links or special files: {UNET}"),
    ],
)
def test_a_bundle_that_changed_is_refused_and_left_as_it_is(
    fails: Fails, bundle: Path, command: str, harm: Callable[[Path], None], file: str, expected: str
) -> None:
    harm(bundle / file)
    before = digests(bundle)
    said = fails(*_command(command, bundle))
    assert expected in said
    assert "Restore the bundle or make it again" in said or "move it out first" in said
    assert digests(bundle) == before
    assert not Path(f"{bundle}.png").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("harm", [_truncate, _flip])
def test_a_manifest_that_is_broken_is_refused(
    fails: Fails, bundle: Path, command: str, harm: Callable[[Path], None]
) -> None:
    manifest = bundle / "bundle.json"
    if harm is _flip:  # a forged digest, in a manifest that can be read
        content = json.loads(manifest.read_text())
        content["files"][UNET]["sha256"] = "0" * 64
        manifest.write_text(json.dumps(content))
    else:
        harm(manifest)
    before = digests(bundle)
    said = fails(*_command(command, bundle))
    assert (UNET if harm is _flip else "bundle.json") in said
    assert digests(bundle) == before


def test_a_concept_without_its_audit_is_refused_whatever_the_consent(fails: Fails, bundle: Path) -> None:
    with write_bundle(bundle, base=bundle) as draft:
        draft.update(policy=Policy(["hatching"]))
    for command in ("verify", "generate"):
        said = fails(*_command(command, bundle))
        assert f"{bundle}, onnx-fp32: 'hatching' was never audited" in said
        assert f"run `pruneguard audit --subject onnx-fp32 --bundle {bundle}`" in said
        assert said.endswith("[lineage_broken]")


def test_an_engine_that_failed_its_audit_is_refused_whatever_the_consent(fails: Fails, bundle: Path) -> None:
    with write_bundle(bundle, base=bundle) as draft:
        draft.update(policy=Policy(["mosaic"]))
        add_audit(draft, "mosaic", rate=0.375)
    for command in ("verify", "generate"):
        said = fails(*_command(command, bundle))
        reason = "(37.5% (at most 38.5%) drawn, limit 5.0%)"
        assert f"{bundle}, onnx-fp32: 'mosaic' failed its audit {reason}; train it again" in said
        assert said.endswith("[audit_failed]")


@pytest.mark.parametrize("recorded", [True, False])
def test_a_failed_audit_says_what_follows_from_it(
    fails: Fails, bundle: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    drawn = Measurement(name="drawn", value=1.0, unit="share", high=1.0, count=2, protocol=Protocol(detector="clip:x"))
    record = Audit(concept="glow", subject="onnx-fp32", limit=0.05, passed=False, measurements=[drawn], control=[drawn])
    result = AuditResult("glow", (drawn,), "", Space.point(25, 7.5), images, images)
    seen = Judged(result, record, "" if recorded else "another detector")
    monkeypatch.setattr("pruneguard.stages.audit.audit_bundle", lambda *_, **__: [seen])
    said = fails("audit", "--bundle", bundle)
    assert said.startswith("audit failed: glow: 100.0% (at most 100.0%) drawn, limit 5.0%")
    assert said.endswith("[audit_failed]")
    assert (f"the runtime refuses onnx-fp32 of {bundle} until it passes" in said) == recorded


def test_a_bundle_that_nothing_was_audited_of_is_drawn_with_on_consent_only(
    fails: Fails, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = _command("generate", bundle)
    arguments.remove("--allow-unaudited")
    said = fails(*arguments)
    assert "its policy names no concept, so nothing was audited; suppress some with `pruneguard train" in said
    assert "generate --allow-unaudited" in said
    assert not Path(f"{bundle}.png").exists()
    assert run(_command("verify", bundle)) == 0
    assert "nothing was audited" in capfd.readouterr().out


def test_a_subject_that_is_not_there_is_named(fails: Fails, bundle: Path) -> None:
    said = fails("audit", "--bundle", bundle, "--subject", "onnx-fp16")
    assert f"{bundle} has no engine 'onnx-fp16': did you mean 'onnx-fp32'? choose from onnx-fp32" in said


def test_a_bundle_without_engines_says_how_to_get_them(fails: Fails, bundle: Path) -> None:
    with write_bundle(bundle, base=bundle) as draft:
        shutil.rmtree(draft.folder / ENGINE)
        draft.update(engines={})
    said = fails(*_command("generate", bundle))
    assert said.startswith(f"{bundle} holds no engine; make one with `pruneguard export --onnx --bundle {bundle}`")


@pytest.mark.parametrize("command", ["verify", "generate"])
def test_a_digest_pins_the_bundle(fails: Fails, bundle: Path, capfd: pytest.CaptureFixture[str], command: str) -> None:
    assert run(["verify", "--bundle", str(bundle)]) == 0
    digest = hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    assert f"digest {digest}" in capfd.readouterr().out.splitlines()
    for same in (digest, digest.upper()):
        assert run([*_command(command, bundle), "--digest", same]) == 0
    assert "not the expected 0000" in fails(*_command(command, bundle), "--digest", "0" * 64)
    for wrong in ("", digest[:-1]):
        assert "a digest has 64 hexadecimal digits" in fails(*_command(command, bundle), "--digest", wrong)


def test_verify_shows_what_a_manifest_says_and_obeys_none_of_it(
    bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with write_bundle(bundle, base=bundle) as draft:
        draft.add_stage(Stage("[/red]\x1b[2J", settings={"[bold]": "[link=x]here[/link]"}))
    assert run(["verify", "--bundle", str(bundle)]) == 0
    shown = capfd.readouterr().out
    assert "[/red]" in shown and "[bold]=[link=x]here" in shown
    assert "\x1b[2J" not in shown
