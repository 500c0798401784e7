"""Which family a model belongs to, and what a family says of its concepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pruneguard import atelier
from pruneguard.bundle import write_bundle
from pruneguard.errors import ConfigError
from pruneguard.evaluation.audit import AuditSettings
from pruneguard.families import DEFAULT, FAMILIES, Family, family_of, find_family
from pruneguard.settings import Choice


@pytest.fixture
def toy() -> Iterator[None]:
    """A family that claims every model whose name begins with "toy/"."""

    @FAMILIES.register("toy")
    def build() -> Family:
        return replace(find_family(DEFAULT), name="toy", claims=lambda model: model.startswith("toy/"))

    yield
    FAMILIES.remove("toy")


def test_the_embedded_model_is_ateliers_and_any_other_the_defaults() -> None:
    assert family_of("atelier").name == family_of(atelier.folder()).name == "atelier"
    assert family_of("owner/model").name == family_of("no such folder").name == DEFAULT == "stable-diffusion"


def test_a_bundle_belongs_to_the_family_that_it_records(tmp_path: Path, toy: None) -> None:
    for recorded in ("atelier", DEFAULT, "toy"):
        with write_bundle(tmp_path / recorded) as draft:
            draft.update(family=recorded)
        assert family_of(tmp_path / recorded).name == recorded


def test_a_bundle_of_a_family_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    with write_bundle(tmp_path / "bundle") as draft:
        draft.update(family="ateliers")
    with pytest.raises(ConfigError, match="unknown family 'ateliers': did you mean 'atelier'"):
        family_of(tmp_path / "bundle")


def test_a_registered_family_claims_its_models_and_two_claims_are_an_error(toy: None) -> None:
    assert family_of("toy/model").name == "toy"
    FAMILIES.register("second")(lambda: replace(find_family("toy"), name="second"))
    try:
        with pytest.raises(ConfigError, match="the model toy/model is claimed by the families second and toy"):
            family_of("toy/model")
    finally:
        FAMILIES.remove("second")


@pytest.mark.parametrize("name", FAMILIES.names())
def test_every_family_loads_its_concepts(name: str) -> None:
    family = find_family(name)
    assert "nudity" in family.concept_names
    for concept_name in family.concept_names:
        concept = family.load_concept(concept_name)
        assert concept.name == concept_name
        assert all(concept.named_in(prompt) for prompt in concept.prompts)
        assert not any(concept.named_in(other) for other in concept.anchors + concept.neighbours)


def test_names_are_forgiving_and_errors_helpful(tmp_path: Path) -> None:
    assert find_family(DEFAULT).load_concept("Van Gogh").name == "van-gogh"
    with pytest.raises(ConfigError, match=r"no concept 'hatchin' for atelier models: did you mean 'hatching'.*TOML"):
        find_family("atelier").load_concept("hatchin")
    with pytest.raises(ConfigError, match="no concept 'hatching' for stable-diffusion models"):
        find_family(DEFAULT).load_concept("hatching")
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        find_family(DEFAULT).load_concept(tmp_path / "none.toml")


def test_stable_diffusion_audits_what_training_has_not_seen() -> None:
    family = find_family(DEFAULT)
    for name in ("monet", "nudity", "picasso", "van-gogh"):
        concept = family.load_concept(name)
        prompts = family.audit_prompts(concept, AuditSettings(target=20, other=6))
        prompts.check(concept)
        assert all(concept.named_in(prompt) for prompt in prompts.target)
        assert prompts.other == ()  # no metric of this family reads them
        measured = family.audit_prompts(concept, AuditSettings(target=20, other=6, metrics=("kept",)))
        assert len(measured.other) == 6


def test_each_familys_preset_is_its_own() -> None:
    small, large = find_family("atelier").preset, find_family(DEFAULT).preset
    assert (large.steps, large.schedule, large.batch_size) == (20_000, Choice("alternating", {"every": 20}), 64)
    assert (large.lower.lr, large.upper.lr, large.lower.warmup, large.upper.warmup) == (1e-6, 5e-6, 250, 250)
    assert (large.erasure.eraser.name, large.erasure.source.kind) == ("esd", "noised")
    assert (small.steps, small.schedule.options, small.erasure.eraser.name) == (150, {"every": 3}, "anchor")
