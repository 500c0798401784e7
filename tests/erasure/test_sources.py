from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pruneguard.diffusion.process import Diffusion
from pruneguard.erasure import ConceptBatch, ConceptPool, SourceSettings, TimestepSettings, draw_concept_batch
from pruneguard.erasure.batches import UpperBatches
from pruneguard.erasure.implicit import ImplicitSettings
from pruneguard.erasure.sources import draw_timesteps
from pruneguard.errors import ConfigError


class Others:
    """Latents of -1 in place of other pictures."""

    def __len__(self) -> int:
        return 5

    def latents(self, rows: Sequence[int]) -> Tensor:
        assert 0 <= rows[0] < 5
        return torch.full((1, 1, 2, 2), -1.0)


def pool(**changes: Any) -> ConceptPool:
    """Eight rows with values 0 to 7, two for each of four prompts; text states are the prompt's number."""
    values: dict[str, Any] = {
        "name": "x",
        "text": torch.arange(4.0).view(4, 1, 1),
        "anchor_text": 10 + torch.arange(4.0).view(4, 1, 1),
        "latents": torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 2),
        "prompt_of": torch.arange(8) // 2,
    }
    return ConceptPool(**{**values, **changes})


def draw(
    settings: SourceSettings,
    chosen: ConceptPool,
    count: int = 400,
    seed: int = 0,
    implicit: ImplicitSettings | None = None,
) -> ConceptBatch:
    return draw_concept_batch(
        chosen,
        Others(),
        settings,
        implicit or ImplicitSettings(share=0.0),
        count=count,
        total_timesteps=1000,
        diffuse=lambda clean, noise, t: clean,
        empty_text=torch.zeros(1, 1, 1),
        generator=torch.Generator().manual_seed(seed),
    )


def value(batch: ConceptBatch) -> Tensor:
    return batch.noisy[:, 0, 0, 0]


def test_noised_rows_have_their_own_prompt() -> None:
    batch = draw(SourceSettings(kind="noised"), pool())
    assert torch.equal(batch.text[:, 0, 0], (value(batch) / 2).floor())
    assert torch.equal(batch.anchor_text, batch.text + 10)
    assert set(value(batch).tolist()) == set(range(8))
    assert 0 <= batch.timesteps.min() < 20
    assert 980 <= batch.timesteps.max() <= 999


def test_mixed_takes_its_share_from_other_pictures() -> None:
    batch = draw(SourceSettings(kind="mixed", share=0.25), pool())
    assert (value(batch) == -1).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert set(batch.text[value(batch) == -1].flatten().tolist()) == {0, 1, 2, 3}
    assert (value(draw(SourceSettings(kind="mixed", share=1.0), pool())) == -1).all()


def test_mixed_pairs_a_prompt_with_its_anchor_picture() -> None:
    anchors = 100 + pool().latents
    batch = draw(SourceSettings(kind="mixed", share=1.0, others="anchors"), pool(anchor_latents=anchors))
    assert torch.equal(batch.text[:, 0, 0], ((value(batch) - 100) / 2).floor())


def test_partial_states_keep_their_timestep_and_get_no_noise() -> None:
    batch = draw(SourceSettings(kind="partial"), pool(timesteps=100 * torch.arange(8)))
    assert torch.equal(batch.timesteps, 100 * value(batch).long())


def test_equal_seeds_give_equal_batches() -> None:
    first, second = (draw(SourceSettings(), pool(), seed=3) for _ in range(2))
    assert torch.equal(first.noisy, second.noisy)
    assert torch.equal(first.timesteps, second.timesteps)
    assert not torch.equal(first.timesteps, draw(SourceSettings(), pool(), seed=4).timesteps)


def test_concepts_take_turns() -> None:
    batches = UpperBatches(
        [pool(), pool(text=50 + torch.arange(4.0).view(4, 1, 1))],
        None,
        SourceSettings(kind="noised"),
        ImplicitSettings(share=0.0),
        Diffusion(torch.linspace(0.99, 0.01, 1000), "epsilon"),
        torch.zeros(1, 1, 1),
        8,
        seed=0,
    )
    for number in range(4):
        said = batches.batch(number).text[:, 0, 0]
        assert len(said) == 8
        assert ((said >= 50) == bool(number % 2)).all()
    assert not torch.equal(batches.batch(0).noisy, batches.batch(2).noisy)


def test_implicit_rows_show_the_concept_under_a_prompt_that_does_not_name_it() -> None:
    unnamed = pool(implicit_text=200 + torch.arange(2.0).view(2, 1, 1), implicit_of=((0,), (1,), (0, 1), (1,)))
    settings = ImplicitSettings(share=0.4, empty=0.25)
    batch = draw(SourceSettings(kind="mixed", share=0.5), unnamed, 800, implicit=settings)
    said, rows = batch.text[:, 0, 0], batch.implicit.nonzero().flatten().tolist()
    assert len(rows) / 800 == pytest.approx(0.4, abs=0.05)
    assert sum(said[row].item() < 200 for row in rows) / len(rows) == pytest.approx(0.25, abs=0.08)
    assert (said[~batch.implicit] < 200).all()
    for row in rows:
        assert value(batch)[row] >= 0  # a picture of the concept, and none that was mixed in
        prompt = int(value(batch)[row] // 2)
        assert batch.named_text[row].item() == prompt
        assert said[row].item() in {0.0, *(200.0 + i for i in unnamed.implicit_of[prompt])}


def test_without_implicit_prompts_only_the_empty_prompt_is_implicit() -> None:
    batch = draw(SourceSettings(kind="noised"), pool(), implicit=ImplicitSettings(share=0.5, empty=0.5))
    assert batch.implicit.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert batch.text[batch.implicit].abs().max().item() == 0


def test_timesteps_follow_their_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    limited = draw_timesteps(TimestepSettings(t_min=200, t_max=209), 4000, 1000, generator)
    assert limited.bincount()[200:].min() > 300
    assert (limited.min().item(), limited.max().item()) == (200, 209)
    high = draw_timesteps(TimestepSettings(weighting="high"), 20_000, 1000, generator).float()
    assert high.mean().item() == pytest.approx(2 / 3 * 1000, abs=10)  # the mean of a density proportional to t
    assert draw_timesteps(TimestepSettings(), 4000, 100, generator).max().item() == 99


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SourceSettings(kind="noise"), "choose from noised, partial, mixed"),  # type: ignore[arg-type]
        (lambda: SourceSettings(others="x"), "choose from data, anchors"),  # type: ignore[arg-type]
        (lambda: SourceSettings(share=2), "`share` is 2"),
        (lambda: TimestepSettings(t_min=5, t_max=4), "t_min 5, t_max 4"),
        (lambda: TimestepSettings(weighting="x"), "choose from uniform, high"),  # type: ignore[arg-type]
        (lambda: draw_timesteps(TimestepSettings(t_min=100), 1, 100, torch.Generator()), "ends at 99"),
    ],
)
def test_wrong_settings_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()
