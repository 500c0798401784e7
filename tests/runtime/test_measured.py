"""What the runtime draws without consent: exactly what the audits measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruneguard.bundle import MANIFEST, BundleDraft, Policy, Space, write_bundle
from pruneguard.errors import LineageError, RequestError
from pruneguard.runtime import GuardedSampler
from tests.runtime.tiny_bundle import add_audit, fill_draft

PROMPTS = ["red star", "blue ring"]
WIDE = Space(steps=(2, 6), guidance_scale=(1.0, 15.0), sizes=((32, 16), (16, 16)), negative_prompts=("flat", "blurry"))
NARROW = Space(steps=(3, 8), guidance_scale=(0.0, 7.5), sizes=((32, 32), (32, 16)), negative_prompts=("flat",))
CONSENT = "; allow_unmeasured=True (generate --allow-unmeasured) draws anyway"


def audited(*spaces: Space | None) -> Callable[[BundleDraft], None]:
    """A change of the tiny bundle: an audit of one concept for each space."""

    def change(draft: BundleDraft) -> None:
        names = [f"style-{number}" for number in range(len(spaces))]
        draft.update(policy=Policy(names))
        for name, space in zip(names, spaces, strict=True):
            add_audit(draft, name, space=space)

    return change


def refused(path: Path, options: dict[str, Any]) -> str:
    """Why a request is refused; empty if it is drawn. Drawing with consent must work in any case."""
    assert len(GuardedSampler.from_bundle(path, allow_unmeasured=True)(PROMPTS, seed=1, **options).images) == 2
    try:
        assert len(GuardedSampler.from_bundle(path)(PROMPTS, seed=1, **options).images) == 2
    except RequestError as error:
        assert str(error).endswith(CONSENT)
        return str(error).removesuffix(CONSENT)
    return ""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("wide") / "bundle", audited(WIDE))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("both") / "bundle", audited(WIDE, NARROW))


def made(path: Path, change: Callable[[BundleDraft], None]) -> Path:
    with write_bundle(path) as draft:
        fill_draft(draft)
        change(draft)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": 4, "guidance_scale": 7.5, "height": 16, "width": 16, "negative_prompt": ""},
        {"guidance_scale": [7.5, 7.5]},
    ],
)
def test_an_audit_of_one_point_allows_that_point(tiny_bundle: Path, options: dict[str, Any]) -> None:
    assert refused(tiny_bundle, options) == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 3}, "steps must be 4 here: suppression was measured there only"),
        ({"steps": 5}, "steps must be 4 here: suppression was measured there only"),
        ({"guidance_scale": 7.4}, "guidance_scale must be 7.5 here: suppression was measured there only"),
        ({"guidance_scale": [7.5, 7.6]}, "guidance_scale must be 7.5 here: suppression was measured there only"),
        ({"height": 32}, "height and width must be 16 × 16 here: suppression was measured there only"),
        (
            {"negative_prompt": ["", "flat"]},
            "negative_prompt must be empty here: suppression was measured with no other",
        ),
    ],
)
def test_and_nothing_else(tiny_bundle: Path, options: dict[str, Any], reason: str) -> None:
    assert refused(tiny_bundle, options) == reason


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": 2},
        {"steps": 6},
        {"guidance_scale": [1.0, 15.0]},
        {"height": 32, "width": 16},
        {"negative_prompt": ["flat", "blurry"]},
        {"steps": 2, "guidance_scale": 15.0, "height": 32, "width": 16, "negative_prompt": "flat"},
    ],
)
def test_an_audit_over_a_space_allows_the_space_with_its_ends(wide: Path, options: dict[str, Any]) -> None:
    assert refused(wide, options) == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 1}, "steps must be from 2 to 6 here"),
        ({"steps": 7}, "steps must be from 2 to 6 here"),
        ({"guidance_scale": [7.5, 0.9]}, "guidance_scale must be from 1 to 15 here"),
        ({"guidance_scale": 15.1}, "guidance_scale must be from 1 to 15 here"),
        ({"height": 16, "width": 32}, "height and width must be 16 × 16 or 32 × 16 here"),
        ({"negative_prompt": ["flat", "Flat"]}, "negative_prompt must be empty or 'flat' or 'blurry' here"),
    ],
)
def test_what_lies_outside_is_drawn_on_consent_only(wide: Path, options: dict[str, Any], reason: str) -> None:
    assert refused(wide, options).startswith(f"{reason}: suppression was measured")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 3, "guidance_scale": 1.0, "height": 32, "width": 16, "negative_prompt": "flat"}, ""),
        ({"steps": 6, "guidance_scale": 7.5}, ""),
        ({"steps": 2}, "steps must be from 3 to 6 here"),
        ({"steps": 8}, "steps must be from 3 to 6 here"),
        ({"guidance_scale": 0.5}, "guidance_scale must be from 1 to 7.5 here"),
        ({"guidance_scale": 8.0}, "guidance_scale must be from 1 to 7.5 here"),
        ({"height": 32, "width": 32}, "height and width must be 16 × 16 or 32 × 16 here"),
        ({"negative_prompt": "blurry"}, "negative_prompt must be empty or 'flat' here"),
    ],
)
def test_two_audits_allow_what_both_measured(both: Path, options: dict[str, Any], reason: str) -> None:
    assert refused(both, options).partition(":")[0] == reason


def test_an_audit_that_the_caller_requires_counts_too(tmp_path: Path) -> None:
    def change(draft: BundleDraft) -> None:
        draft.update(policy=Policy(["style-0"]))
        add_audit(draft, "style-0", space=WIDE)
        add_audit(draft, "style-1", space=NARROW)

    path = made(tmp_path / "bundle", change)
    assert len(GuardedSampler.from_bundle(path)("red", steps=2, seed=1).images) == 1
    with pytest.raises(RequestError, match="steps must be from 3 to 6 here"):
        GuardedSampler.from_bundle(path, policy=["style-1"])("red", steps=2)


def test_a_bundle_whose_audits_record_no_space_is_read_and_allows_its_own_settings(tmp_path: Path) -> None:
    path = made(tmp_path / "bundle", audited(None, WIDE))
    document = json.loads((path / MANIFEST).read_text())
    del document["audits"][0]["space"]  # as an earlier version wrote it
    (path / MANIFEST).write_text(json.dumps(document))
    assert refused(path, {}) == ""
    assert refused(path, {"steps": 3}).startswith("steps must be 4 here")


def test_audits_without_a_common_setting_serve_nothing(tmp_path: Path) -> None:
    path = made(tmp_path / "bundle", audited(WIDE, Space.point(9, 7.5)))
    with pytest.raises(LineageError, match=r"measured different settings: no setting lies both in 2 to 6 steps"):
        GuardedSampler.from_bundle(path)


def test_long_lists_of_negative_prompts_are_cut_short_in_messages(tiny_bundle: Path) -> None:
    components = GuardedSampler.from_bundle(tiny_bundle).components
    texts = tuple(f"{number} {'x' * 200}" for number in range(9))
    space = Space(steps=(4, 4), guidance_scale=(7.5, 7.5), negative_prompts=texts)
    with pytest.raises(RequestError, match=r"'0 x{58}…' or .* or 4 more texts here") as caught:
        GuardedSampler(components, measured=space)("red", negative_prompt="flat")
    assert len(str(caught.value)) < 700


def test_components_without_audits_are_drawn_with_their_own_settings(tiny_bundle: Path) -> None:
    components = GuardedSampler.from_bundle(tiny_bundle).components
    assert len(GuardedSampler(components)("red", seed=1, steps=4).images) == 1
    with pytest.raises(RequestError, match="steps must be 4 here"):
        GuardedSampler(components)("red", steps=5)
