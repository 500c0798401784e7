from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pruneguard.evaluation.grid import GAP, HEAD, LABEL, MARK, PAPER, TILE, draw_grid


def _picture(colour: tuple[int, int, int]) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.full((16, 16, 3), colour, np.uint8)


def test_each_picture_lies_in_its_subjects_row_and_its_prompts_column(tmp_path: Path) -> None:
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    rows = {"teacher": [_picture(red), _picture(green)], "engine": [_picture(blue), _picture(red)]}
    draw_grid(rows, ["a disc", "a long prompt that takes more than a line"], tmp_path / "grid.png", marked=1)
    sheet = Image.open(tmp_path / "grid.png")
    assert sheet.size == (LABEL + 2 * (TILE + GAP), HEAD + 2 * (TILE + GAP) + GAP)

    def seen(row: int, column: int) -> object:
        return sheet.getpixel((LABEL + column * (TILE + GAP) + TILE // 2, HEAD + row * (TILE + GAP) + TILE // 2))

    assert [seen(0, 0), seen(0, 1), seen(1, 0), seen(1, 1)] == [red, green, blue, red]
    assert sheet.getpixel((LABEL + TILE + GAP // 2 - 1, HEAD + TILE // 2)) == MARK  # the line right of the concept's


def test_pictures_beyond_the_prompts_are_left_out_and_nothing_is_marked_by_default(tmp_path: Path) -> None:
    draw_grid({"teacher": [_picture((9, 9, 9))] * 3}, ["a disc"], tmp_path / "grid.png")
    sheet = Image.open(tmp_path / "grid.png")
    assert sheet.width == LABEL + TILE + GAP
    assert sheet.getpixel((sheet.width - 1, HEAD)) == PAPER
