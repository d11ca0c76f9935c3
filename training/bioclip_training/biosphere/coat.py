"""The painted animal: its outlines in the colours and the pattern of its species, as a picture with transparency."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from bioclip_training.biosphere.bodies import outline
from bioclip_training.biosphere.habitat import Colour, shaded
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Points
from bioclip_training.biosphere.traits import Traits

_PATTERNED = ("body", "back")


@dataclass(frozen=True, slots=True)
class Placement:
    """The way from the animal's coordinates to pixels: turned by ``lean``, mirrored, scaled, moved."""

    scale: float
    """Pixels per unit."""
    mirror: bool = False
    lean: float = 0.0
    origin: tuple[float, float] = (0.0, 0.0)
    """Place of the animal's (0, 0), in pixels."""

    def pixels(self, points: Points | Sequence[Point]) -> list[Point]:
        points = np.asarray(points)
        cos, sin = np.cos(self.lean), np.sin(self.lean)
        x, y = points[:, 0] * cos + points[:, 1] * sin, points[:, 1] * cos - points[:, 0] * sin
        turned = np.stack([(-x if self.mirror else x), y], axis=1)
        return [(float(x), float(y)) for x, y in turned * self.scale + np.asarray(self.origin)]


def painted(
    traits: Traits, pose: Pose, placement: Placement, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Paint the animal on a transparent ground of ``size`` pixels (width, height), as RGBA. ``rng`` shifts the pattern a little."""
    colours, tone = _colours(traits, pose), _tone_colour(traits)
    picture, alpha, coat = Image.new("RGB", size), Image.new("L", size), Image.new("L", size)
    on_picture, on_alpha, on_coat = ImageDraw.Draw(picture), ImageDraw.Draw(alpha), ImageDraw.Draw(coat)
    for shape in outline(traits, pose):
        vertices = placement.pixels(shape.points)
        on_picture.polygon(vertices, fill=shaded(colours[shape.part], shape.shade))
        on_alpha.polygon(vertices, fill=255)
        on_coat.polygon(vertices, fill=255 if shape.part in _PATTERNED else 0)
    picture.paste(tone, mask=ImageChops.multiply(coat, _marks(traits, placement, size, rng)))
    picture = _lit_from_above(picture, alpha)
    picture.putalpha(alpha)
    return picture


def _tone_colour(traits: Traits) -> Colour:
    """Return the colour of the marks and of the accent."""
    if traits.tone == "dark":
        return (28, 22, 20)
    if traits.tone == "pale":
        return (244, 240, 224)
    return _rgb(traits.hue + 0.5, 0.58, 0.9)


def _colours(traits: Traits, pose: Pose) -> dict[str, Colour]:
    saturation = 0.5 if pose.sex == "male" else 0.42
    light = traits.lightness + (0.05 if pose.life_stage == "juvenile" else 0.0)
    base = _rgb(traits.hue, light, saturation)
    colours = {
        "body": base,
        "back": base,
        "head": base,
        "tail": shaded(base, 0.92),
        "leg": shaded(base, 0.8),
        "belly": _rgb(traits.hue, min(0.85, light + 0.18), 0.3),
        "ornament": _rgb(traits.hue + 0.08, 0.74, 0.4),
        "beak": (226, 166, 66),
        "eye": (12, 10, 10),
    }
    if traits.accent != "none":
        colours[traits.accent] = _tone_colour(traits)
    return colours


def _rgb(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = (round(255 * value) for value in colorsys.hls_to_rgb(hue % 1.0, lightness, saturation))
    return red, green, blue


def _lit_from_above(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """Make the animal's top brighter and its feet darker."""
    box = alpha.getbbox()
    if box is None:
        return picture
    light = np.full(picture.height, 1.0)
    light[box[1] : box[3]] = np.linspace(1.15, 0.78, box[3] - box[1])
    lit = np.asarray(picture, dtype=np.float32) * light[:, None, None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _marks(traits: Traits, placement: Placement, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return the pattern over the whole animal, as a mask of 0 and 255."""
    mask, period = Image.new("L", size), 1.15 / traits.pattern_count
    brush = _Brush(ImageDraw.Draw(mask), placement)
    _paint(brush, traits.pattern, period, float(rng.uniform(-0.15, 0.15)) * period)
    return mask


@dataclass(frozen=True, slots=True)
class _Brush:
    """A brush for marks in the animal's coordinates."""

    on: ImageDraw.ImageDraw
    placement: Placement

    def area(self, points: list[Point]) -> None:
        self.on.polygon(self.placement.pixels(points), fill=255)

    def line(self, points: list[Point], width: float) -> None:
        self.on.line(
            self.placement.pixels(points), fill=255, width=max(1, round(width * self.placement.scale)), joint="curve"
        )

    def disc(self, at: Point, radius: float, fill: int = 255) -> None:
        ((x, y),) = self.placement.pixels([at])
        reach = radius * self.placement.scale
        self.on.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _steps(period: float, shift: float) -> list[float]:
    """Return places along the trunk and neck, tail end first."""
    return [float(x) for x in np.arange(-0.8 + shift, 1.1, period)]


def _grid(period: float, shift: float) -> list[Point]:
    rows = enumerate(np.arange(-1.1, 0.6, period * 0.8))
    return [(x + (row % 2) * period / 2, float(y)) for row, y in rows for x in _steps(period, shift)]


def _paint(brush: _Brush, pattern: str, period: float, shift: float) -> None:
    match pattern:
        case "bars":
            for x in _steps(period, shift):
                brush.line([(x - 0.15, -1.2), (x + 0.08, 0.6)], period * 0.45)
        case "stripes":
            for y in np.arange(-1.15 + shift, 0.6, period * 0.6).tolist():
                brush.line([(-0.9, y + 0.05), (0.0, y - 0.02), (1.1, y)], period * 0.28)
        case "spots":
            for place in _grid(period, shift):
                brush.disc(place, period * 0.28)
        case "rings":
            wide = max(period, 0.2)
            for place in _grid(wide, shift):
                brush.disc(place, wide * 0.38)
                brush.disc(place, wide * 0.2, 0)
        case "saddle" if period > 0.2:
            brush.area([(-0.3 + shift, 0.12), (-0.42, -0.6), (0.16, -0.6), (0.06 + shift, 0.12)])
        case "saddle":
            brush.area([(-0.6, -0.02), (-0.6, -0.6), (0.4, -0.6), (0.4, -0.02)])
        case "halves":
            edge = shift if period > 0.2 else 0.1 + shift
            brush.area([(-1.0, 1.0), (-1.0, -1.2), (edge - 0.08, -1.2), (edge + 0.08, 1.0)])
        case "net":
            for x in [*_steps(period * 1.2, shift), 1.1 + shift, 1.4 + shift]:
                brush.line([(x - 0.9, -1.0), (x + 0.6, 0.5)], period * 0.24)
                brush.line([(x + 0.6, -1.0), (x - 0.9, 0.5)], period * 0.24)
        case "chevrons":
            for x in _steps(period * 1.1, shift):
                brush.line([(x - 1.0, -1.0), (x + 0.02, 0.0), (x - 0.5, 0.5)], period * 0.42)
