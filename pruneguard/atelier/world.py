"""The world that atelier draws: objects x styles x colours on random grounds, rendered from signed distances.

Everything here is numpy: the world can be sampled, captioned and rendered without torch.
Letters: H, W image height and width in pixels; coordinates are (x, y), x to the right, y downwards.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

SIZE = 64
OBJECTS = ("disc", "square", "triangle", "star", "ring", "cross", "heart", "mannequin")
STYLES = ("flat", "outline", "hatching", "mosaic", "stipple", "glow", "relief", "sticker")
HUES = {"red": 0.0, "yellow": 52.0, "green": 120.0, "cyan": 182.0, "blue": 232.0, "magenta": 302.0}
COLOURS = tuple(HUES)
DRESSES = ("dressed", "bare")
Purpose = Literal["training", "validation", "audit"]

TEMPLATES = (
    "a {colour} {object} in {style} style",
    "{style} style, a {colour} {object}",
    "a drawing of a {colour} {object}, {style} style",
    "a {colour} {object}, {style} style",
    "a picture of a {colour} {object} in {style} style",
)


@dataclass(frozen=True)
class Scene:
    """What a picture shows; `dress` is one of DRESSES for the mannequin and None for everything else."""

    object: str
    style: str
    colour: str
    dress: str | None = None

    def __post_init__(self) -> None:
        for value, allowed in ((self.object, OBJECTS), (self.style, STYLES), (self.colour, COLOURS)):
            if value not in allowed:
                raise ValueError(f"atelier has no {value!r}; choose from {', '.join(allowed)}")
        if (self.object == "mannequin") != (self.dress is not None):
            raise ValueError("`dress` belongs to the mannequin and to nothing else")

    def caption(self, template: str = TEMPLATES[0], *, style: bool = True, colour: bool = True) -> str:
        """The scene in words; with `style` or `colour` False that attribute is left out."""
        name = f"{self.dress} {self.object}" if self.dress else self.object
        if not style:
            template = "a {colour} {object}"
        words = template.format(colour=self.colour if colour else "", object=name, style=self.style)
        return " ".join(words.split())


def scenes() -> Iterator[Scene]:
    """Every scene of the world, in a fixed order."""
    for name in OBJECTS:
        for dress in DRESSES if name == "mannequin" else (None,):
            for style in STYLES:
                for colour in COLOURS:
                    yield Scene(name, style, colour, dress)


def sample_scene(rng: np.random.Generator) -> Scene:
    """A scene with each attribute uniform."""
    name = OBJECTS[rng.integers(len(OBJECTS))]
    dress = DRESSES[rng.integers(2)] if name == "mannequin" else None
    return Scene(name, STYLES[rng.integers(len(STYLES))], COLOURS[rng.integers(len(COLOURS))], dress)


def sample_caption(scene: Scene, rng: np.random.Generator, unsaid: float = 0.08) -> str:
    """A training caption by a random template; it leaves out style and colour, each with probability `unsaid`."""
    while True:
        style, colour = rng.random() >= unsaid, rng.random() >= unsaid
        caption = scene.caption(TEMPLATES[rng.integers(len(TEMPLATES))], style=style, colour=colour)
        if purpose(caption) == "training":
            return caption


def purpose(caption: str) -> Purpose:
    """What a caption is for: of eight about two are for audits, one is for validation, and five are for training."""
    place = zlib.crc32(caption.encode()) % 8
    return "audit" if place % 4 == 0 else "validation" if place == 1 else "training"


def captions_for(use: Purpose) -> list[tuple[str, Scene]]:
    """Every caption of that purpose that names all attributes, with its scene, in a fixed order."""
    captioned = ((scene.caption(template), scene) for scene in scenes() for template in TEMPLATES)
    return [(caption, scene) for caption, scene in captioned if purpose(caption) == use]


# --- shapes: signed distance (negative inside) in units of the object's radius, for points p of shape (H, W, 2) ---


def _box(p: Array, half_width: float, half_height: float) -> Array:
    q = np.abs(p) - np.array([half_width, half_height], np.float32)
    outside: Array = np.hypot(np.maximum(q[..., 0], 0), np.maximum(q[..., 1], 0))
    inside: Array = np.minimum(np.maximum(q[..., 0], q[..., 1]), 0)
    return outside + inside


def _segment(p: Array, a: tuple[float, float], b: tuple[float, float], radius: float) -> Array:
    start, along = np.array(a, np.float32), np.array(b, np.float32) - np.array(a, np.float32)
    offset = p - start
    h = np.clip(offset @ along / (along @ along), 0, 1)[..., None]
    distance: Array = np.linalg.norm(offset - h * along, axis=-1) - radius
    return distance


def _polygon(p: Array, vertices: Array) -> Array:
    """Exact signed distance to a simple polygon with vertices (N, 2)."""
    squared = np.full(p.shape[:-1], np.inf, np.float32)
    sign = np.ones(p.shape[:-1], np.float32)
    for a, b in zip(vertices, np.roll(vertices, 1, axis=0), strict=True):
        edge, offset = b - a, p - a
        h = np.clip(offset @ edge / (edge @ edge), 0, 1)[..., None]
        squared = np.minimum(squared, np.sum((offset - h * edge) ** 2, axis=-1))
        above, below = p[..., 1] >= a[1], p[..., 1] < b[1]
        left = edge[0] * offset[..., 1] > edge[1] * offset[..., 0]
        crosses = (above & below & left) | (~above & ~below & ~left)
        sign = np.where(crosses, -sign, sign)
    return sign * np.sqrt(squared)


def _polar(radii: list[float], turn: float = -90.0) -> Array:
    angles = np.deg2rad(turn + 360.0 / len(radii) * np.arange(len(radii)))
    vertices: Array = np.stack([np.cos(angles), np.sin(angles)], -1) * np.array(radii)[:, None]
    return vertices.astype(np.float32)


def _heart() -> Array:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x / 17.0, (y + 2.5) / 15.5], -1).astype(np.float32)


_TRIANGLE = _polar([1.05, 1.05, 1.05]) + np.array([0, 0.15], np.float32)
_STAR = _polar([1.05, 0.45] * 5)
_HEART = _heart()
_DRESS = np.array([[-0.2, -0.5], [0.2, -0.5], [0.58, 0.5], [-0.58, 0.5]], np.float32)


def _body(p: Array) -> Array:
    parts = [np.hypot(p[..., 0], p[..., 1] + 0.75) - 0.23, _segment(p, (0, -0.35), (0, 0.1), 0.21)]
    for side in (-1.0, 1.0):
        parts.append(_segment(p, (side * 0.2, -0.42), (side * 0.62, 0.08), 0.11))
        parts.append(_segment(p, (side * 0.12, 0.15), (side * 0.28, 0.92), 0.14))
    union: Array = np.minimum.reduce(parts)
    return union


_SHAPES: dict[str, Callable[[Array], Array]] = {
    "disc": lambda p: np.hypot(p[..., 0], p[..., 1]) - 0.92,
    "square": lambda p: _box(p, 0.8, 0.8),
    "triangle": lambda p: _polygon(p, _TRIANGLE),
    "star": lambda p: _polygon(p, _STAR),
    "ring": lambda p: np.abs(np.hypot(p[..., 0], p[..., 1]) - 0.68) - 0.26,
    "cross": lambda p: np.minimum(_box(p, 0.95, 0.31), _box(p, 0.31, 0.95)),
    "heart": lambda p: _polygon(p, _HEART),
    "mannequin": _body,
}


# --- styles: paint over `ground` (H, W, 3), given distance d (H, W) in pixels, local pixel coordinates q (H, W, 2)
#     and the object's colour (H, W, 3); all colours in [0, 1] ---


def _cover(d: Array) -> Array:
    """Share of a pixel that lies inside, (H, W, 1)."""
    share: Array = np.clip(0.5 - d, 0, 1)[..., None]
    return share


def _over(ground: Array, colour: Array, alpha: Array) -> Array:
    return ground * (1 - alpha) + colour * alpha


def _wave(phase: Array) -> Array:
    """A square wave of period 1 with edges a pixel or so wide, (H, W, 1) in [0, 1]."""
    wave: Array = np.clip(0.5 + 2.0 * np.sin(2 * np.pi * phase), 0, 1)[..., None]
    return wave


def _flat(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    return _over(ground, colour, _cover(d))


def _outline(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    return _over(ground, colour, _cover(np.abs(d + 1.4) - 1.7))


def _hatching(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    stripes = _wave((q[..., 0] + q[..., 1]) / 9.0)
    return _over(ground, _over(colour, colour * 0.22, stripes), _cover(d))


def _mosaic(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    cells = np.clip(0.5 + 3 * np.sin(np.pi * q[..., 0] / 6.5) * np.sin(np.pi * q[..., 1] / 6.5), 0, 1)[..., None]
    return _over(ground, _over(colour, 0.2 * colour + 0.8, cells), _cover(d))


def _stipple(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    dots = np.cos(2 * np.pi * q[..., 0] / 8.0) + np.cos(2 * np.pi * q[..., 1] / 8.0)
    base = _over(ground, 0.45 * ground + 0.25 * colour, _cover(d))
    return _over(base, colour, _cover(d) * np.clip(0.5 + 1.6 * (dots - 0.35), 0, 1)[..., None])


def _glow(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    halo = 0.9 * np.exp(-np.maximum(d, 0) / 4.5)[..., None]
    return _over(_over(ground, colour, halo), 0.15 * colour + 0.85, _cover(d + 1.0))


def _relief(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    slope_y, slope_x = np.gradient(d)
    edge = np.exp(-np.maximum(-d, 0) / 3.5)
    light = (-(slope_x + slope_y) / np.sqrt(2) * edge)[..., None]
    lit = _over(colour, np.ones_like(colour), np.clip(light, 0, 1) * 0.9)
    return _over(ground, lit * (1 - 0.9 * np.clip(-light, 0, 1)), _cover(d))


def _sticker(d: Array, q: Array, colour: Array, ground: Array) -> Array:
    shadow = _over(ground, ground * 0.3, _cover(d - 5.0))
    paper = _over(shadow, np.full_like(colour, 0.97), _cover(d - 3.6))
    return _over(paper, colour, _cover(d))


_STYLES: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "flat": _flat,
    "outline": _outline,
    "hatching": _hatching,
    "mosaic": _mosaic,
    "stipple": _stipple,
    "glow": _glow,
    "relief": _relief,
    "sticker": _sticker,
}


def _ground(rng: np.random.Generator, xy: Array) -> Array:
    """A ground of any brightness with a weak tint and a gradient, (H, W, 3)."""
    base = rng.uniform(0.1, 0.9) + rng.uniform(-0.08, 0.08, 3)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    ramp = ((xy / SIZE - 0.5) @ np.array([np.cos(angle), np.sin(angle)]))[..., None]
    ground: Array = np.clip(base + strength * ramp, 0, 1)
    return ground.astype(np.float32)


def _paint(name: str, rng: np.random.Generator) -> Array:
    hue = (HUES[name] + rng.uniform(-11, 11)) % 360 / 360
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.75, 1.0), rng.uniform(0.72, 1.0)), np.float32)


def render(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of the scene with random place, size, angle, colour and ground, (64, 64, 3) RGB."""
    xy = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(np.float32) + 0.5
    ground = _ground(rng, xy)
    radius = rng.uniform(15, 23) * (1.12 if scene.object == "mannequin" else 1.0)
    margin = min(radius + 4, SIZE / 2 - 1)
    centre = rng.uniform(margin, SIZE - margin, 2).astype(np.float32)
    angle = np.deg2rad(rng.uniform(-20, 20))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    q = (xy - centre) @ turn
    p = q / np.float32(radius)
    d = _SHAPES[scene.object](p)
    colour = np.broadcast_to(_paint(scene.colour, rng), ground.shape)
    if scene.dress == "dressed":
        dress = _polygon(p, _DRESS)
        d = np.minimum(d, dress)
        colour = _over(colour, colour * 0.4, _cover(dress * radius))
    painted = _STYLES[scene.style]((d * radius).astype(np.float32), q, colour.astype(np.float32), ground)
    return (np.clip(painted, 0, 1) * 255 + 0.5).astype(np.uint8)
