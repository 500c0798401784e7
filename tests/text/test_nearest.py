from __future__ import annotations

from pruneguard.text.nearest import fuller_prompt, nearest_prompts


def test_a_prompt_is_paired_with_those_that_ask_for_the_same() -> None:
    named = ("a red cross in mosaic style", "mosaic style, a blue cross", "a red disc, mosaic style")
    assert nearest_prompts("a red cross", named) == [0]
    assert nearest_prompts("a cross", ("a blue cross", "a red cross", "a red disc")) == [0, 1]
    assert nearest_prompts("", named) == [0, 1, 2]


def test_a_fuller_prompt_says_the_same_and_more() -> None:
    named = ("a red cross in mosaic style", "mosaic style, a blue cross", "mosaic style, a cross")
    assert fuller_prompt("a cross", named) == 2
    assert fuller_prompt("a blue cross", named) == 1
    assert fuller_prompt("a green cross", named) is None
    assert fuller_prompt("a cross", ()) is None
    # A nearer prompt that lacks one of the words is no fuller one.
    assert fuller_prompt("a cross", ("a mosaic", "a cross in the style of a mosaic")) == 1
