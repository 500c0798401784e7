"""A new export target is one function that registers itself: the stage exports with it and the runtime serves it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneguard.bundle import Bundle, EngineRecord, PrivateCopy, write_bundle
from pruneguard.errors import BundleError, ConfigError, ExportError
from pruneguard.export import TARGETS, Exported, TargetSettings, sampler_settings
from pruneguard.measurement import Measurement
from pruneguard.models import Pipeline
from pruneguard.runs.progress import silent
from pruneguard.runtime import BACKENDS, EngineError, GuardedSampler
from pruneguard.settings import Choice
from pruneguard.stages.export import export_bundle

COMPONENTS = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True, kw_only=True)
class GreySettings(TargetSettings):
    precision: str = "int8"
    level: float = 0.5


def export_to_grey(
    pipeline: Pipeline,
    folder: Path,
    place: str,
    settings: GreySettings,
    *,
    prompts: Sequence[str] | None,
    on_progress: Any,
) -> Exported:
    """An engine that draws one grey, whatever is asked; a level above 1 disagrees with the model."""
    for name in COMPONENTS:
        (folder / name).mkdir(parents=True)
        (folder / name / "grey.json").write_text(json.dumps({"level": settings.level}))
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    if settings.level > 1:
        raise ExportError("a level above 1 is brighter than white")
    engine = EngineRecord(
        target="grey",
        backend="grey",
        precision=settings.precision,
        components={name: f"{place}/{name}" for name in COMPONENTS},
        tokenizer=f"{place}/tokenizer",
        files=[place],
        parity=[Measurement(name="parity/images/psnr", value=10.0, unit="dB")],
    )
    return Exported(engine, {"level": settings.level})


class Grey:
    """The backend of these engines."""

    def usable(self, options: Any) -> None:
        return None

    def open(self, files: PrivateCopy, component: str, options: Any) -> Any:
        return GreyEngine(component, files.read_json("grey.json")["level"])


@dataclass(frozen=True)
class GreyEngine:
    component: str
    level: float

    def run(self, inputs: dict[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        if self.component == "text_encoder":
            return {"last_hidden_state": np.repeat(inputs["input_ids"][..., None], 4, axis=2)}
        if self.component == "unet":
            return {"out_sample": np.zeros_like(inputs["sample"])}
        rows, _, height, width = inputs["latent_sample"].shape
        return {"sample": np.full((rows, 3, 4 * height, 4 * width), 2 * self.level - 1, np.float32)}

    def describe(self) -> dict[str, Any]:
        return {"backend": "grey"}


@pytest.fixture
def grey() -> Iterator[None]:
    TARGETS.register("grey", settings=GreySettings)(export_to_grey)
    BACKENDS.register("grey")(Grey)
    yield
    TARGETS.remove("grey")
    BACKENDS.remove("grey")


@pytest.fixture
def bundle(tiny_pipeline: Pipeline, tmp_path: Path) -> Path:
    with write_bundle(tmp_path / "bundle") as draft:
        tiny_pipeline.save(draft.folder / "model")
        draft.update(sampler=sampler_settings(tiny_pipeline))
    return tmp_path / "bundle"


def test_the_stage_exports_with_a_registered_target_and_the_runtime_serves_it(grey: None, bundle: Path) -> None:
    done = export_bundle(bundle, target=Choice("grey", {"level": 0.25}), on_progress=silent)
    assert (done.name, done.engine.precision) == ("grey-int8", "int8")
    done.bundle.verify()
    assert json.loads((bundle / "reports/parity-grey-int8.json").read_text()) == {"level": 0.25}
    assert done.bundle.manifest.stages[-1].settings == {"name": "grey", "level": 0.25}
    sampler = GuardedSampler.from_bundle(bundle, allow_unaudited=True)
    assert sampler.engine == "grey-int8"
    assert set(np.asarray(sampler("a red star", seed=1).images[0]).flatten().tolist()) == {64}


def test_two_engines_lie_side_by_side_and_each_can_be_made_anew(grey: None, bundle: Path) -> None:
    export_bundle(bundle, target=Choice("grey", {"level": 0.25}), name="dark", on_progress=silent)
    export_bundle(bundle, target=Choice("grey", {"level": 0.75}), name="bright", on_progress=silent)
    export_bundle(bundle, target=Choice("grey", {"level": 0.1}), name="dark", on_progress=silent)
    opened = Bundle.open(bundle)
    opened.verify()
    assert sorted(opened.manifest.engines) == ["bright", "dark"]
    assert [stage.name for stage in opened.manifest.stages] == ["export bright", "export dark"]
    levels = {
        name: np.asarray(GuardedSampler.from_bundle(bundle, engine=name, allow_unaudited=True)("red").images[0]).max()
        for name in opened.manifest.engines
    }
    assert levels == {"bright": 191, "dark": 25}


def test_an_engine_to_which_all_prompts_are_one_is_refused(
    grey: None, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Bundle.open(bundle).digest
    monkeypatch.setattr(
        GreyEngine, "run", lambda engine, given, outputs: {outputs[0]: np.ones((*given["input_ids"].shape, 4))}
    )
    with pytest.raises(EngineError, match="all prompts give the same text states"):
        export_bundle(bundle, target="grey", on_progress=silent)
    assert Bundle.open(bundle).digest == before


def test_a_target_that_fails_leaves_the_bundle_as_it_was(grey: None, bundle: Path) -> None:
    before = Bundle.open(bundle).digest
    with pytest.raises(ExportError, match="brighter than white"):
        export_bundle(bundle, target=Choice("grey", {"level": 2.0}), on_progress=silent)
    with pytest.raises(ConfigError, match="unknown export target 'gray': did you mean 'grey'"):
        export_bundle(bundle, target="gray", on_progress=silent)
    with pytest.raises(BundleError, match=r"'\.\./\.\./precious' is not an engine's name"):
        export_bundle(bundle, target="grey", name="../../precious", on_progress=silent)
    with pytest.raises(ConfigError, match="unknown setting 'levl': did you mean 'level'"):
        export_bundle(bundle, target=Choice("grey", {"levl": 1}), on_progress=silent)
    assert Bundle.open(bundle).digest == before
    Bundle.open(bundle).verify()
