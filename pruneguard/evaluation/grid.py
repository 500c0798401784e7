"""Picture grids with one row for each subject and one column for each prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE, GAP, LABEL, HEAD = 112, 4, 96, 48
INK, PAPER, MARK = (34, 34, 34), (250, 250, 248), (196, 61, 43)


def draw_grid(
    rows: Mapping[str, Sequence[NDArray[np.uint8]]], columns: Sequence[str], path: Path, *, marked: int = 0
) -> None:
    """Writes a PNG with a row of pictures (H, W, 3) for each subject. The first `marked` ones ask for the concept."""
    width = LABEL + len(columns) * (TILE + GAP)
    height = HEAD + len(rows) * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, text in enumerate(columns):
        ink = MARK if column < marked else INK
        pen.multiline_text((LABEL + column * (TILE + GAP), 4), _wrap(text, 19), fill=ink, font=font, spacing=1)
    for row, (name, images) in enumerate(rows.items()):
        top = HEAD + row * (TILE + GAP)
        pen.multiline_text((6, top + TILE // 2 - 8), _wrap(name, 14), fill=INK, font=font)
        for column, pixels in enumerate(images[: len(columns)]):
            tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (LABEL + column * (TILE + GAP), top))
    if marked:
        edge = LABEL + marked * (TILE + GAP) - GAP // 2 - 1
        pen.line([(edge, 2), (edge, height)], fill=MARK, width=2)
    sheet.save(path)


def _wrap(text: str, width: int) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])
