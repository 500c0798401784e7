"""Requests: a call of a guarded sampler of which one or more arguments are odd, and guards that say odd things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from pruneguard.runtime import GuardedSampler
from pruneguard.runtime.guards.guard import Guard, Verdict
from tests.fuzz.values import HUGE, odd, pick, shown, texts

SIDE = 16
"""Pixels of the tiny bundle's images along one side."""
NAMES = (
    "prompt",
    "seed",
    "steps",
    "guidance_scale",
    "negative_prompt",
    "height",
    "width",
    "cfg",
    "on_step",
    "cancelled",
)


@dataclass(frozen=True, repr=False)
class OddGuard:
    """A guard that answers every question with one value."""

    answer: Any
    name: str = "odd"

    def check_prompt(self, prompt: str) -> Any:
        return self.answer

    def check_image(self, image: Any) -> Any:
        return self.answer


@dataclass(frozen=True, repr=False)
class Request:
    """One call: the method, the arguments, and the guards beside the sampler's own."""

    method: str
    unmeasured: bool
    arguments: dict[str, Any]
    guards: tuple[Guard, ...] = ()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={shown(value)}" for name, value in self.arguments.items())
        answers = "".join(f" with a guard's {shown(guard.__dict__)}" for guard in self.guards)
        return f"{self.method}({arguments}), unmeasured={self.unmeasured}{answers}"

    def send(self, sampler: GuardedSampler) -> object:
        """Draws. Raises whatever the sampler raises."""
        served = GuardedSampler(
            sampler.components, guards=self.guards, batch_size=2, allow_unmeasured=self.unmeasured, engine="tiny"
        )
        call = served.each if self.method == "each" else served
        return call(**self.arguments)


_sound = {
    "prompt": st.one_of(
        st.sampled_from(["a red cat", "the house", ["a cat", "a dog"], ("a", "b", "c"), "!?.", "a" * 2000]),
        texts.filter(str.strip),
    ),
    "seed": st.one_of(
        st.none(), st.integers(0, 2**63 - 4), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3)
    ),
    "steps": st.one_of(st.none(), st.integers(1, 6)),
    "guidance_scale": st.one_of(st.none(), st.floats(0, 30), st.lists(st.floats(0, 30), min_size=1, max_size=3)),
    "negative_prompt": st.sampled_from(["", "a dog", ["", "a dog"]]),
    "height": st.sampled_from([None, SIDE, 2 * SIDE]),
    "width": st.sampled_from([None, SIDE, 4 * SIDE]),
    "cfg": st.sampled_from(["batched", "sequential"]),
    "on_step": st.sampled_from([None, lambda index, total, timestep: None]),
    "cancelled": st.sampled_from([None, lambda: False, lambda: True]),
}
_not_callable = odd.filter(lambda value: not callable(value))  # a function of the caller raises its own errors
_scores = st.one_of(pick([0, 1, 0.5, HUGE, float("nan"), "0.5", None]), odd)
_verdicts = st.builds(
    Verdict,
    guard=st.sampled_from(["odd", "", 3]),
    decision=st.one_of(st.sampled_from(["allow", "refuse"]), odd),
    score=_scores,
    threshold=_scores,
    concept=st.sampled_from(["a", None, 3]),
)
_guards = st.one_of(
    st.just(()),
    st.just(()),
    st.just(()),
    st.tuples(st.builds(OddGuard, st.one_of(st.none(), _verdicts, odd))),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request of which none to two arguments are odd."""
    given = draw(st.sets(st.sampled_from(NAMES[1:]), max_size=4))
    arguments: dict[str, Any] = {name: draw(_sound[name]) for name in ("prompt", *sorted(given))}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
        arguments[name] = draw(_not_callable if name in ("on_step", "cancelled") else odd)
    return Request(draw(st.sampled_from(["call", "each"])), draw(st.booleans()), arguments, draw(_guards))
