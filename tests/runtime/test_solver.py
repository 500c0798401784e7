"""Which solver a scheduler's configuration gets, and what a solver must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import diffusers
import numpy as np
import pytest

from pruneguard.errors import ConfigError
from pruneguard.models import Pipeline
from pruneguard.runtime import SOLVERS, sampler_settings, torch_components
from pruneguard.runtime.sampling.solver import Array, read_scheduler
from pruneguard.runtime.sampling.solvers.pndm import make_pndm

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@dataclass(frozen=True, kw_only=True)
class EulerConfig:
    scheduler_class: ClassVar[str] = "ToyEulerScheduler"
    largest: float = 3.0
    prediction_type: str = "v_prediction"

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        return cls(largest=config["largest"])

    converted = from_dict


@dataclass(frozen=True)
class Euler:
    """Euler's method on x(sigma): scaled inputs, an initial sigma and fractional timesteps."""

    sigmas: tuple[float, ...]

    @property
    def timesteps(self) -> tuple[float, ...]:
        return tuple(100 * sigma for sigma in self.sigmas[:-1])

    @property
    def initial_sigma(self) -> float:
        return self.sigmas[0]

    def scale_input(self, sample: Array, call: int) -> Array:
        return sample / np.float32((self.sigmas[call] ** 2 + 1) ** 0.5)

    def start(self) -> int:
        return 0

    def step(self, state: int, output: Array, sample: Array) -> tuple[Array, int]:
        return sample + np.float32(self.sigmas[state + 1] - self.sigmas[state]) * output, state + 1


@pytest.fixture
def euler() -> Iterator[None]:
    @SOLVERS.register("toy-euler", settings=EulerConfig)
    def build(scheduler: Mapping[str, Any], steps: int) -> Euler:
        return Euler(tuple(np.linspace(EulerConfig.from_dict(scheduler).largest, 0, steps + 1).tolist()))

    yield
    SOLVERS.remove("toy-euler")


def test_pndm_reads_its_own_class_and_a_configuration_without_a_class() -> None:
    for config in (BETAS, {**BETAS, "_class_name": "PNDMScheduler"}):
        name, settings = read_scheduler(config)
        assert (name, settings.beta_end, settings.skip_prk_steps) == ("pndm", 0.012, False)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler", "UniPCMultistepScheduler"])
def test_another_class_is_refused_by_name_with_the_remedy(name: str) -> None:
    config = {**BETAS, "_class_name": name}
    for read in (read_scheduler, lambda config: make_pndm(config, 25)):
        with pytest.raises(ConfigError, match=rf"scheduler is {name}, which no solver .*; --scheduler pndm draws"):
            read(config)


@pytest.mark.parametrize(
    "kind", ["EulerDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]
)
def test_a_kindred_scheduler_is_converted_on_demand(tiny_pipeline: Pipeline, kind: str) -> None:
    tiny_pipeline.scheduler = getattr(diffusers, kind)(**BETAS, prediction_type="v_prediction")
    with pytest.raises(ConfigError, match=f"scheduler is {kind}"):
        torch_components(tiny_pipeline)
    settings = sampler_settings(tiny_pipeline, "pndm")
    assert settings.solver == "pndm"
    assert {**settings.scheduler, **BETAS, "skip_prk_steps": True} == settings.scheduler
    ours = settings.build_solver(25)
    theirs = diffusers.PNDMScheduler.from_config(tiny_pipeline.scheduler.config, skip_prk_steps=True)
    theirs.set_timesteps(25)
    assert list(ours.timesteps) == theirs.timesteps.tolist()
    assert np.array_equal(make_pndm(settings.scheduler, 25).alphas_cumprod, theirs.alphas_cumprod.numpy())
    assert asdict(torch_components(tiny_pipeline, scheduler="pndm").sampler) == asdict(settings)


def test_pndms_own_configuration_is_not_converted(tiny_pipeline: Pipeline) -> None:
    tiny_pipeline.scheduler = diffusers.PNDMScheduler(**BETAS, prediction_type="v_prediction")
    assert sampler_settings(tiny_pipeline, "pndm").scheduler["skip_prk_steps"] is False


def test_what_has_no_betas_is_not_converted(tiny_pipeline: Pipeline) -> None:
    tiny_pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.raises(ConfigError, match="FlowMatchEulerDiscreteScheduler has no betas"):
        sampler_settings(tiny_pipeline, "pndm")
    with pytest.raises(ConfigError, match=r"unknown solver 'ddim': .*choose from pndm"):
        sampler_settings(tiny_pipeline, "ddim")


@pytest.mark.usefixtures("euler")
def test_a_registered_solver_is_chosen_by_its_scheduler_and_draws(tiny_pipeline: Pipeline) -> None:
    from pruneguard.runtime import draw_latents, draw_noise

    components = torch_components(tiny_pipeline, sampler=sampler_settings(_with_euler(tiny_pipeline)))
    found = draw_latents(components, ["a cup"], [3], steps=3, guidance_scale=1.0)

    ids = components.tokenizer(["a cup"]).ids
    states = components.text_encoder.run({"input_ids": ids})["last_hidden_state"]
    sample = 3 * draw_noise([3], (4, 16, 16))
    for sigma in (3.0, 2.0, 1.0):
        inputs = {
            "sample": sample / np.float32((sigma**2 + 1) ** 0.5),
            "timestep": np.asarray([100 * sigma], np.float32),
            "encoder_hidden_states": states,
        }
        sample = sample - components.unet.run(inputs)["out_sample"]
    np.testing.assert_allclose(found, sample, rtol=1e-5, atol=1e-5)


def _with_euler(pipeline: Pipeline) -> Any:
    class ToyEulerScheduler:
        config: ClassVar[dict[str, Any]] = {"largest": 3.0, "prediction_type": "v_prediction"}

    settings = {"scheduler": ToyEulerScheduler()}
    parts = {name: getattr(pipeline, name) for name in ("unet", "vae", "tokenizer", "text_encoder")}
    return SimpleNamespace(**parts, **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_start": "0.1"}, "scheduler: `beta_start`: Expected `float`, got `str`"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000; it must be at least 100"),
        ({"skip_prk_steps": 1}, "scheduler: `skip_prk_steps`"),
        ({"steps_offset": -1}, "steps_offset -1"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_pndm({**BETAS, **changes}, 25)
