"""One outcome for each image of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pruneguard.errors import Cancelled, GuardFailure, RequestError
from pruneguard.runtime import (
    Components,
    Drawn,
    EngineError,
    Failed,
    GuardedSampler,
    GuardRefusal,
    Refused,
    Verdict,
)
from tests.runtime.engines import Function


@dataclass
class Watch:
    """A guard on words and images: `refuse` and `fail` name words; images listed by number are refused or fail."""

    refuse: tuple[Any, ...] = ()
    fail: tuple[Any, ...] = ()
    name: str = "watch"
    images: int = 0

    def check_prompt(self, prompt: str) -> Verdict:
        return self._check(prompt)

    def check_image(self, image: Any) -> Verdict:
        self.images += 1
        return self._check(self.images - 1)

    def _check(self, thing: Any) -> Verdict:
        if thing in self.fail:
            raise ZeroDivisionError("no weights")
        refused = thing in self.refuse
        return Verdict(self.name, "refuse" if refused else "allow", float(refused), 0.5, "watched")


def outcomes(parts: Components, guard: Watch | None = None, **options: Any) -> tuple[Any, ...]:
    sampler = GuardedSampler(parts, guards=[guard] if guard else [], batch_size=3)
    return sampler.each(["red", "blue star", "green", "a child"], seed=5, **options)


def test_a_refused_prompt_does_not_stop_the_others(parts: Components) -> None:
    found = outcomes(parts, Watch(refuse=("blue star",), fail=("green",)))
    assert [type(outcome) for outcome in found] == [Drawn, Refused, Failed, Refused]
    assert found[1].message == "prompt 1 was refused by watch (watched); its image is withheld"
    assert (found[1].code, found[1].verdicts[1].score) == ("content_policy_violation", 1.0)
    assert found[2].code == "guard_unavailable" and isinstance(found[2].error, GuardFailure)
    assert str(found[2].error) == "guard 'watch' failed on prompt 2 (no weights); its image is withheld"
    assert found[3].verdicts[0] == Verdict("minors", "refuse", 1.0, 1.0, "minors")
    assert isinstance(parts.unet, Function) and parts.unet.rows == 2 * 5  # only the allowed prompt was drawn


def test_what_is_drawn_equals_the_whole_request(parts: Components) -> None:
    sampler = GuardedSampler(parts, guards=[Watch()], batch_size=3)
    prompts = ["red", "blue star", "green", "a long prompt of many letters"]
    whole, found = sampler(prompts, seed=5), sampler.each(prompts, seed=5)
    assert all(isinstance(outcome, Drawn) for outcome in found)
    for index, outcome in enumerate(found):
        assert isinstance(outcome, Drawn)
        assert np.array_equal(np.asarray(outcome.image), np.asarray(whole.images[index]))
        told = (whole.seeds[index], whole.verdicts[index], whole.truncated[index])
        assert (outcome.seed, outcome.verdicts, outcome.truncated) == told
    assert whole.seeds == (5, 6, 7, 8) and whole.truncated == (0, 0, 0, 13)


def test_an_image_guard_refuses_or_fails_for_one_image_alone(parts: Components) -> None:
    found = outcomes(parts, Watch(refuse=(0,), fail=(2,)))
    assert [type(outcome) for outcome in found] == [Refused, Drawn, Failed, Refused]
    assert found[0].message == "image 0 was refused by watch (watched); its image is withheld"
    assert "failed on image 2 (no weights)" in str(found[2].error)


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae_decoder"])
def test_values_that_are_not_finite_fail_their_row_alone(parts: Components, component: str) -> None:
    engine = getattr(parts, component)
    sound, calls = engine.function, [0]

    def broken(**inputs: Any) -> Any:
        calls[0] += 1
        result = np.array(sound(**inputs), dtype=np.float32)
        if calls[0] == 1:
            result[1] = np.nan
        return result

    engine.function = broken
    found = outcomes(parts)
    assert [type(outcome) for outcome in found] == [Drawn, Failed, Drawn, Refused]
    assert found[1].code == "engine_failed" and "gave values that are not finite" in str(found[1].error)
    engine.function = sound
    expected = outcomes(parts)
    assert all(np.array_equal(np.asarray(found[n].image), np.asarray(expected[n].image)) for n in (0, 2))


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae_decoder"])
def test_an_engine_that_fails_fails_the_images_of_its_batch(parts: Components, component: str) -> None:
    engine, calls = getattr(parts, component), [0]
    sound = engine.function

    def broken(**inputs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 1:
            raise EngineError("out of memory")
        return sound(**inputs)

    engine.function = broken
    found = GuardedSampler(parts, batch_size=2).each(["red", "blue", "green"], seed=1)
    assert [type(outcome) for outcome in found] == [Failed, Failed, Drawn]
    assert str(found[0].error) == "out of memory"  # type: ignore[union-attr]


def test_a_whole_request_gives_up_where_each_goes_on(parts: Components) -> None:
    prompts, seen = ["red", "blue", "green"], list[int]()
    refusing = GuardedSampler(parts, guards=[Watch(refuse=("green",))])
    with pytest.raises(GuardRefusal, match="prompt 2 was refused"):
        refusing(prompts, seed=1, on_step=lambda index, *_: seen.append(index))
    assert seen == []
    with pytest.raises(GuardRefusal, match="image 1 was refused"):
        GuardedSampler(parts, guards=[Watch(refuse=(1,))])(prompts, seed=1)
    assert isinstance(parts.unet, Function)
    before, sound = parts.unet.calls, parts.unet.function
    parts.unet.function = lambda **inputs: np.nan * sound(**inputs)
    with pytest.raises(EngineError, match="not finite"):
        GuardedSampler(parts, batch_size=1)(prompts, seed=1)
    assert parts.unet.calls == before + 1


def test_wrong_requests_and_cancelling_end_the_whole_call(parts: Components) -> None:
    with pytest.raises(RequestError, match="steps must be 4"):
        outcomes(parts, steps=2)
    with pytest.raises(Cancelled):
        outcomes(parts, cancelled=lambda: True)
    guard = Watch()
    with pytest.raises(Cancelled):
        outcomes(parts, guard, cancelled=lambda: guard.images == 2)
    assert guard.images == 2  # asked between the guards' images too


def test_nothing_is_drawn_if_every_prompt_is_refused(parts: Components) -> None:
    assert [type(outcome) for outcome in GuardedSampler(parts).each(["a child", "a boy"])] == [Refused, Refused]
    assert isinstance(parts.text_encoder, Function) and parts.text_encoder.calls == 0


def test_a_guard_cannot_change_the_image(parts: Components) -> None:
    class Painter(Watch):
        def check_image(self, image: Any) -> Verdict:
            try:
                image.flags.writeable = True
            except ValueError:
                image[...] = 0
            return super().check_image(image)

    (outcome,) = GuardedSampler(parts, guards=[Painter()]).each("red", seed=1)
    assert isinstance(outcome, Failed) and "read-only" in str(outcome.error)
