"""A concept to suppress: the prompts that call for it, what to draw instead, and how a detector recognises it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, get_args

from pruneguard.errors import ConfigError
from pruneguard.settings import convert
from pruneguard.text.prompts import check_prompts, same_text

ParameterSet = Literal["x", "x-strict", "u", "all"]
PARAMETER_SETS: tuple[str, ...] = get_args(ParameterSet)
TEXTS = (
    "prompts",
    "anchors",
    "neighbours",
    "audit_prompts",
    "implicit_prompts",
    "audit_implicit_prompts",
    "terms",
)


@dataclass(frozen=True, kw_only=True)
class Concept:
    """Something to suppress. For `prompts[i]`, which asks for the concept, the model shall draw `anchors[i]`."""

    name: str
    prompts: tuple[str, ...]
    anchors: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    """Prompts for things that are like the concept and must not change."""
    audit_prompts: tuple[str, ...] = ()
    """Prompts that ask for the concept and that training never sees. Without them there is no audit, unless the model's
    family has its own."""
    implicit_prompts: tuple[str, ...] = ()
    """Prompts that do not name the concept and under which a model draws it nevertheless, for training."""
    audit_implicit_prompts: tuple[str, ...] = ()
    """The like for audits; training never sees them."""
    terms: tuple[str, ...] = ()
    """Words that name the concept. Captions that contain one are left out of the lower level's data."""
    companions: tuple[str, ...] = ()
    """Terms of the concepts that are suppressed together with it: what names them need not be kept."""
    parameters: ParameterSet = "x"
    """Weights that the upper level may change: `x` suits named things and styles; `u` suits concepts that prompts call
    up without naming them, such as nudity."""
    detector: str = ""
    """The detector that audits this concept, such as `clip:FOLDER_OR_HUB_ID`; empty for the model family's default."""
    detect: Mapping[str, str] = field(default_factory=dict)
    """What the detector looks for, in the detector's own words."""

    def __post_init__(self) -> None:
        """Raises ConfigError, which names the concept and the field."""
        where = f"concept {self.name!r}"
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ConfigError(f"{where}: `name` must be lower-case words joined by hyphens")
        if not self.prompts:
            raise ConfigError(f"{where}: `prompts` is empty; give at least one prompt that asks for it")
        if len(self.anchors) != len(self.prompts):
            raise ConfigError(
                f"{where}: {len(self.prompts)} prompts but {len(self.anchors)} anchors; give each prompt its own anchor"
            )
        if not self.terms:
            raise ConfigError(f"{where}: `terms` is empty; give the words that name it")
        if self.parameters not in PARAMETER_SETS:
            raise ConfigError(f"{where}: `parameters` is {self.parameters!r}; choose from {', '.join(PARAMETER_SETS)}")
        trained = {"prompts": self.prompts, "implicit_prompts": self.implicit_prompts}
        audited = {"audit_prompts": self.audit_prompts, "audit_implicit_prompts": self.audit_implicit_prompts}
        for (name, known), (other, asked) in product(trained.items(), audited.items()):
            if seen := sorted(set(map(same_text, known)) & set(map(same_text, asked))):
                raise ConfigError(
                    f"{where}: {seen[0]!r} is in `{name}` and `{other}`; audits need prompts new to training"
                )
        for name in ("implicit_prompts", "audit_implicit_prompts"):
            if named := [text for text in getattr(self, name) if self.named_in(text)]:
                raise ConfigError(f"{where}: `{name}` has {named[0]!r}, which names it; move it to the other prompts")
        for key in TEXTS:
            check_prompts(getattr(self, key), f"{where}, `{key}`")

    @property
    def trained(self) -> frozenset[str]:
        """What training asks, as `same_text` shows it."""
        return frozenset(map(same_text, (*self.prompts, *self.implicit_prompts)))

    @property
    def audited(self) -> frozenset[str]:
        """What audits ask, as `same_text` shows it."""
        return frozenset(map(same_text, (*self.audit_prompts, *self.audit_implicit_prompts)))

    def without(self, prompts: Collection[str]) -> Concept:
        """The concept without these prompts for training, their anchors, and these implicit prompts.

        Raises ConfigError if no prompt is left.
        """
        kept = [
            (prompt, anchor) for prompt, anchor in zip(self.prompts, self.anchors, strict=True) if prompt not in prompts
        ]
        return replace(
            self,
            prompts=tuple(prompt for prompt, _ in kept),
            anchors=tuple(anchor for _, anchor in kept),
            implicit_prompts=tuple(prompt for prompt in self.implicit_prompts if prompt not in prompts),
        )

    def named_in(self, text: str) -> bool:
        """Whether the text has one of the concept's terms as whole words, in any case."""
        return _has_term(text, self.terms)

    def may_change(self, text: str) -> bool:
        """Whether the text names the concept or one of its companions, so that what it asks for need not be kept."""
        return _has_term(text, (*self.terms, *self.companions))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Concept:
        """A concept from TOML or JSON values. A single text as `anchors` is the anchor of every prompt.

        Raises ConfigError; its message begins with `where`.
        """
        given = dict(values)
        anchors, prompts = given.get("anchors"), given.get("prompts")
        if isinstance(anchors, str) and isinstance(prompts, Sequence):
            given["anchors"] = [anchors] * len(prompts)
        try:
            return convert(given, cls, where)
        except ConfigError as error:
            text = str(error)
            raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from None


def _has_term(text: str, terms: Sequence[str]) -> bool:
    words = "|".join(re.escape(term).replace(r"\ ", r"\s+") for term in terms)
    return re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE) is not None
