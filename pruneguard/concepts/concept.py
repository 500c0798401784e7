"""What a concept is: the prompts that call for it, what to draw instead, and how it is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from pruneguard.errors import ConfigError
from pruneguard.runtime import mentions_minors

ParameterSet = Literal["x", "x-strict", "u", "all"]
PARAMETER_SETS: tuple[str, ...] = get_args(ParameterSet)
TEXTS = ("prompts", "anchors", "neighbours", "audit_prompts", "terms")


def check_prompts(prompts: Sequence[str], where: str) -> tuple[str, ...]:
    """The prompts as a tuple; ConfigError for one that is not text, is empty or mentions minors."""
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"{where}: {prompt!r} is not a prompt; every entry must be a text that is not empty")
        if mentions_minors(prompt):
            raise ConfigError(f"{where}: {prompt!r} mentions minors; such prompts are never drawn, remove it")
    return tuple(prompts)


@dataclass(frozen=True, kw_only=True)
class Concept:
    """Something to suppress. `anchors[i]` is what to draw where `prompts[i]` asks for the concept."""

    name: str
    prompts: tuple[str, ...]
    anchors: tuple[str, ...]
    neighbours: tuple[str, ...] = ()
    audit_prompts: tuple[str, ...] = ()
    """Prompts that ask for the concept and that training never sees; without them an audit asks `prompts`."""
    terms: tuple[str, ...] = ()
    """Words that name the concept; captions with one of them stay out of the lower level."""
    parameters: ParameterSet = "x"
    """What the upper level may change: `x` for named things and styles, `u` for what no word of a prompt need name."""
    detect: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
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
        if seen := sorted(set(self.audit_prompts) & set(self.prompts)):
            raise ConfigError(f"{where}: {seen[0]!r} is in `prompts` and `audit_prompts`; audits ask what is new")
        for key in TEXTS:
            check_prompts(getattr(self, key), f"{where}, `{key}`")

    def named_in(self, text: str) -> bool:
        """Whether the text has one of the concept's terms as whole words, in any case."""
        words = "|".join(re.escape(term).replace(r"\ ", r"\s+") for term in self.terms)
        return re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE) is not None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Concept:
        """A concept from TOML or JSON values; one text as `anchors` stands for every prompt. Raises ConfigError."""
        known = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; a concept has {', '.join(sorted(known))}")
        if missing := [key for key in ("name", "prompts", "anchors", "terms") if key not in values]:
            raise ConfigError(
                f"{where}: key {missing[0]!r} is missing; a concept needs name, prompts, anchors and terms"
            )
        given = dict(values)
        if isinstance(given["anchors"], str) and isinstance(given["prompts"], Sequence):
            given["anchors"] = [given["anchors"]] * len(given["prompts"])
        for key in TEXTS:
            if not isinstance(given.get(key, []), list | tuple):
                raise ConfigError(f"{where}: `{key}` must be a list of texts")
            given[key] = tuple(given.get(key, ()))
        if not isinstance(given["name"], str):
            raise ConfigError(f"{where}: `name` must be a text")
        detect = given.get("detect", {})
        if not isinstance(detect, Mapping) or not all(isinstance(value, str) for value in detect.values()):
            raise ConfigError(f"{where}: `detect` must be a table of texts")
        try:
            return cls(**{**given, "detect": dict(detect)})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
