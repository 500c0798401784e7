"""The embedded sampler: a verified bundle in, guarded images out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pruneguard.bundle import Bundle, BundleDraft, Policy, sha256_file, write_bundle
from pruneguard.errors import AuditError, BundleError, Cancelled, ConfigError, GuardFailure, LineageError, RequestError
from pruneguard.runtime import ConceptTermsGuard, GuardedSampler, GuardRefusal, Verdict, draw
from tests.runtime.tiny_bundle import add_audit, unet_graph


class Whiteness:
    """An image guard that refuses bright images."""

    name = "whiteness"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def check_prompt(self, prompt: str) -> None:
        return None

    def check_image(self, image: Any) -> Verdict:
        score = float(image.mean() / 255)
        return Verdict(self.name, "refuse" if score >= self.threshold else "allow", score, self.threshold, "white")


def pixels(result: Any) -> Any:
    return np.stack([np.asarray(image) for image in result.images])


def test_five_lines_draw_an_image(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, threads=1)
    result = sampler("a red star in flat style", seed=7)
    assert result.images[0].size == (16, 16) and result.images[0].mode == "RGB"
    assert result.seeds == (7,)
    assert result.verdicts == ((Verdict("minors", "allow", 0.0, 1.0, "minors"),),)
    assert result.truncated == (3,)
    expected = draw(sampler.components, ["a red star in flat style"], [7], steps=4)
    assert np.array_equal(pixels(result), expected)


def test_seeds_are_told_and_repeat_the_image(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle)
    result = sampler(["red", "blue"])
    assert len(set(result.seeds)) == 2
    assert np.array_equal(pixels(sampler(["red", "blue"], seed=result.seeds)), pixels(result))
    assert np.array_equal(pixels(sampler("blue", seed=result.seeds[1]))[0], pixels(result)[1])


def test_one_seed_counts_up_over_the_prompts(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle)
    assert sampler(["red"] * 3, seed=5).seeds == (5, 6, 7)
    with pytest.raises(RequestError, match="for 2 prompts"):
        sampler(["red"] * 2, seed=2**63 - 1)
    for seed in (-1, 2**63, True, "7", 1.5, [1, 2]):
        with pytest.raises(RequestError, match="seed"):
            sampler("red", seed=seed)  # type: ignore[arg-type]


def test_requests_of_many_threads_do_not_mix(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, threads=1)
    prompts = [f"red star {n}" for n in range(12)]
    alone = [pixels(sampler(prompt, seed=n)) for n, prompt in enumerate(prompts)]
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(sampler, prompt, seed=n) for n, prompt in enumerate(prompts)]
        together = [pixels(job.result()) for job in jobs]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("how", ["changed", "missing", "extra", "link"])
def test_a_file_that_is_not_vouched_for_is_refused(tiny_bundle: Path, tmp_path: Path, how: str) -> None:
    path = tiny_bundle / "engines/onnx-fp32/unet/model.onnx"
    if how == "changed":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "missing":
        path.unlink()
    elif how == "extra":
        (tiny_bundle / "engines/onnx-fp32/unet/model.onnx.data").write_bytes(b"x")
    else:
        path.rename(tmp_path / "model.onnx")
        path.symlink_to(tmp_path / "model.onnx")
    with pytest.raises(LineageError, match=r"engines/onnx-fp32/unet/model\.onnx"):
        GuardedSampler.from_bundle(tiny_bundle)


def test_a_bundle_without_its_audit_is_refused(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(LineageError, match="'hatching' was never audited"):
        GuardedSampler.from_bundle(make_bundle(change=lambda draft: None))


def test_a_failed_audit_is_refused(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(AuditError, match=r"failed its audit \(40.0% \(at most 41.0%\) drawn, limit 5.0%\)"):
        GuardedSampler.from_bundle(make_bundle(change=partial(add_audit, rate=0.4)))


def test_an_audit_of_another_engine_is_refused(tiny_bundle: Path) -> None:
    with write_bundle(tiny_bundle, base=tiny_bundle) as draft:
        onnx.save(unet_graph(), str(draft.folder / "engines/onnx-fp32/unet/model.onnx"))
        with (draft.folder / "engines/onnx-fp32/unet/model.onnx").open("ab") as file:
            file.write(b"\x10\x01")
    with pytest.raises(LineageError, match="audited on other files"):
        GuardedSampler.from_bundle(tiny_bundle)


def test_a_stricter_policy_of_the_caller_counts(tiny_bundle: Path) -> None:
    GuardedSampler.from_bundle(tiny_bundle, policy=["hatching"])
    for consent in (False, True):
        with pytest.raises(LineageError, match="'nudity' was never audited; suppress it with `pruneguard train"):
            GuardedSampler.from_bundle(tiny_bundle, policy=["nudity"], allow_unaudited=consent)
    with pytest.raises(ConfigError, match="list of concept names"):
        GuardedSampler.from_bundle(tiny_bundle, policy="nudity")


def test_a_stricter_limit_of_the_caller_counts_and_a_laxer_one_does_not(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle()  # its audit saw 1 %, with a bound of 2 %
    GuardedSampler.from_bundle(path, limit=0.02)
    with pytest.raises(AuditError, match=r"failed its audit \(1\.0% \(at most 2\.0%\) drawn, limit 1\.5%\)"):
        GuardedSampler.from_bundle(path, limit=0.015)
    with pytest.raises(AuditError, match=r"limit 5\.0%"):
        GuardedSampler.from_bundle(make_bundle(change=partial(add_audit, rate=0.4)), limit=0.5)
    with pytest.raises(ConfigError, match="limit must lie between 0 and 1, not nan"):
        GuardedSampler.from_bundle(path, limit=float("nan"))


def test_what_was_not_audited_is_served_on_consent_only(make_bundle: Callable[..., Path]) -> None:
    def change(draft: BundleDraft) -> None:
        draft.update(policy=Policy([]))
        add_audit(draft)

    path = make_bundle(change=change)
    for policy in (None, ()):
        with pytest.raises(LineageError, match=r"no concept, so nothing was audited; .* allow_unaudited=True"):
            GuardedSampler.from_bundle(path, policy=policy)
    sampler = GuardedSampler.from_bundle(path, allow_unaudited=True)
    with pytest.raises(GuardRefusal, match="minors"):
        sampler("a child")
    assert GuardedSampler.from_bundle(path, policy=["hatching"])("red", seed=1).seeds == (1,)


@pytest.mark.parametrize("rate", [None, 0.4])
def test_consent_excuses_no_audit_that_the_policy_asks_for(
    make_bundle: Callable[..., Path], rate: float | None
) -> None:
    path = make_bundle(change=lambda draft: None if rate is None else add_audit(draft, rate=rate))
    with pytest.raises(BundleError, match=r"'hatching' (was never audited|failed its audit)"):
        GuardedSampler.from_bundle(path, allow_unaudited=True)


def test_a_wrong_batch_size_or_cfg_is_said_before_anything_runs(tiny_bundle: Path) -> None:
    for batch_size in (0, True, 2.0, 10**6):
        with pytest.raises(ConfigError, match="batch_size must be a whole number from 1 to"):
            GuardedSampler.from_bundle(tiny_bundle, batch_size=batch_size)  # type: ignore[arg-type]

    def tokenizer(prompts: Sequence[str]) -> Any:
        raise AssertionError("the request was not checked first")

    parts = GuardedSampler.from_bundle(tiny_bundle).components
    with pytest.raises(RequestError, match="cfg must be 'batched' or 'sequential', not 'both'"):
        GuardedSampler(replace(parts, tokenizer=tokenizer))("red", cfg="both")  # type: ignore[arg-type]


def test_a_digest_pins_the_bundle(tiny_bundle: Path) -> None:
    digest = sha256_file(tiny_bundle / "bundle.json")
    assert Bundle.open(tiny_bundle).digest == digest
    GuardedSampler.from_bundle(tiny_bundle, digest=digest)
    with pytest.raises(LineageError, match="not the expected"):
        GuardedSampler.from_bundle(tiny_bundle, digest="0" * 64)
    with pytest.raises(ConfigError, match="64 hexadecimal digits, not ''"):
        GuardedSampler.from_bundle(tiny_bundle, digest="")


def test_a_corrupted_engine_with_a_fitting_digest_is_one_clear_error(tiny_bundle: Path) -> None:
    with write_bundle(tiny_bundle, base=tiny_bundle) as draft:
        (draft.folder / "engines/onnx-fp32/unet/model.onnx").write_bytes(b"not a model")
        add_audit(draft)
    with pytest.raises(BundleError, match=r"unet/model\.onnx"):
        GuardedSampler.from_bundle(tiny_bundle)


def test_minors_are_refused_whatever_the_guards(tiny_bundle: Path) -> None:
    steps: list[int] = []
    sampler = GuardedSampler.from_bundle(tiny_bundle, guards=())
    with pytest.raises(GuardRefusal, match="prompt 1 was refused by minors") as caught:
        sampler(["a red star", "a child"], on_step=lambda index, *_: steps.append(index))
    assert caught.value.code == "content_policy_violation"
    assert caught.value.verdicts[0].decision == "refuse"
    assert steps == []


def test_where_nothing_is_suppressed_there_is_nothing_to_measure(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle(change=lambda draft: draft.update(policy=Policy([])))
    sampler = GuardedSampler.from_bundle(path, allow_unaudited=True)
    assert len(sampler("red star", negative_prompt="flat", guidance_scale=20, steps=2, seed=1).images) == 1


def test_a_negative_prompt_is_not_a_request_to_draw(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, allow_unmeasured=True)
    assert len(sampler("red star", negative_prompt="child", seed=1).images) == 1


@pytest.mark.parametrize("guidance_scale", [0.0, 0.9])
def test_a_negative_prompt_below_guidance_1_is_a_request_to_draw(tiny_bundle: Path, guidance_scale: float) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, allow_unmeasured=True)
    with pytest.raises(GuardRefusal, match="minors"):
        sampler("red star", negative_prompt="child", guidance_scale=guidance_scale)


def test_a_refused_negative_prompt_is_told_by_its_own_place(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, allow_unmeasured=True)
    with pytest.raises(GuardRefusal, match="negative prompt 1 was refused") as refused:
        sampler(["a red star", "a blue ring"], negative_prompt=["", "child"], guidance_scale=[7.5, 0.5])
    assert refused.value.index == 1


def test_half_a_surrogate_pair_is_a_wrong_request(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle, allow_unmeasured=True)
    for prompt, negative in (("a \ud800 star", ""), ("a star", "\udfff")):
        with pytest.raises(RequestError, match="half of a surrogate pair"):
            sampler(prompt, negative_prompt=negative)


def test_more_guards_can_be_added(tiny_bundle: Path) -> None:
    terms = ConceptTermsGuard.from_concepts(Bundle.open(tiny_bundle).manifest.concepts)
    sampler = GuardedSampler.from_bundle(tiny_bundle, guards=[terms, Whiteness(0.99)])
    assert sampler.describe()["guards"] == ["minors", "concept-terms", "whiteness"]
    result = sampler("red star", seed=1)
    assert [verdict.guard for verdict in result.verdicts[0]] == ["minors", "concept-terms", "whiteness"]
    with pytest.raises(GuardRefusal, match="hatching"):
        sampler("a star in hatching style")


def test_an_image_guard_refuses_or_fails_and_no_image_comes(tiny_bundle: Path) -> None:
    with pytest.raises(GuardRefusal, match="image 0 was refused by whiteness"):
        GuardedSampler.from_bundle(tiny_bundle, guards=[Whiteness(0.01)])("red", seed=1)
    with pytest.raises(GuardFailure, match="not a number"):
        GuardedSampler.from_bundle(tiny_bundle, guards=[Whiteness(float("nan"))])("red", seed=1)


def test_a_call_has_a_limit_of_prompts(tiny_bundle: Path) -> None:
    sampler = GuardedSampler.from_bundle(tiny_bundle)
    for call in (sampler, sampler.each):
        with pytest.raises(RequestError, match="at most 256 prompts, not 257; make several calls"):
            call(["red"] * 257)


def test_cancelling_stops_between_the_guards_of_two_prompts(tiny_bundle: Path) -> None:
    seen: list[str] = []

    class Counting(Whiteness):
        def check_prompt(self, prompt: str) -> None:
            seen.append(prompt)

    sampler = GuardedSampler.from_bundle(tiny_bundle, guards=[Counting(2.0)])
    with pytest.raises(Cancelled):
        sampler(["red", "green", "blue", "black"], cancelled=lambda: len(seen) == 2)
    assert seen == ["red", "green"]


def test_cancelling_returns_nothing(tiny_bundle: Path) -> None:
    with pytest.raises(Cancelled):
        GuardedSampler.from_bundle(tiny_bundle)("red", cancelled=lambda: True)


def test_the_runtime_is_light() -> None:
    heavy = ("torch", "diffusers", "transformers", "onnxruntime", "onnx", "tokenizers", "PIL")
    code = f"import sys, pruneguard.runtime; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_bundle_draws_without_torch(tiny_bundle: Path) -> None:
    code = (
        "import sys\nfor name in ('torch', 'diffusers', 'transformers', 'onnx'): sys.modules[name] = None\n"
        "from pruneguard.runtime import GuardedSampler\n"
        f"print(GuardedSampler.from_bundle({str(tiny_bundle)!r})('red', seed=1).images[0].size)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(16, 16)\n", "")
