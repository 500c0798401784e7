"""What became of each image of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruneguard.errors import PruneguardError

from .guards.guard import GuardRefusal, Verdict

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Drawn:
    """An image that every guard allowed.

    `verdicts` has each guard's verdict on the prompt, then on the image. `truncated` counts the tokens of the prompt
    that the text encoder has no room for and did not read.
    """

    image: PIL.Image.Image
    seed: int
    verdicts: tuple[Verdict, ...]
    truncated: int


@dataclass(frozen=True)
class Refused:
    """A prompt or an image that a guard refused; `verdicts` are those on the text or image in question."""

    verdicts: tuple[Verdict, ...]
    message: str
    code: str


@dataclass(frozen=True)
class Failed:
    """An image that could not be drawn or checked; `code` is the error's own."""

    error: PruneguardError
    code: str


Outcome = Drawn | Refused | Failed


def outcome_of(error: PruneguardError) -> Refused | Failed:
    """The outcome of an image that ended with an error: a guard's refusal, or a failure."""
    if isinstance(error, GuardRefusal):
        return Refused(error.verdicts, str(error), error.code)
    return Failed(error, error.code)
