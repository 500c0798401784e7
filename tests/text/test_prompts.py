from __future__ import annotations

from typing import Any

import pytest

from pruneguard.errors import ConfigError
from pruneguard.text.prompts import check_prompts, without_minors


def test_prompts_that_may_be_drawn_pass_as_they_are() -> None:
    assert check_prompts(["a disc", "a ring"], "list") == ("a disc", "a ring")


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        (["a disc", "  "], "list: '  ' is not a prompt"),
        (["a disc", 3], "list: 3 is not a prompt"),
        (["a disc", "a child on a swing"], "list: 'a child on a swing' mentions minors; .* remove it"),
    ],
)
def test_a_list_with_one_wrong_entry_is_refused(prompts: list[Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_prompts(prompts, "list")


def test_prompts_that_mention_minors_can_be_left_out() -> None:
    assert without_minors(["a disc", "two boys", "a ring"]) == ("a disc", "a ring")
