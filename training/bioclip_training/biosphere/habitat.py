"""The surroundings of the animal: six habitats as pictures, and the grass in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


def shaded(colour: Colour, shade: float) -> Colour:
    """Return a colour that is brighter or darker by a factor."""
    red, green, blue = (min(255, round(value * shade)) for value in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Habitat:
    """One kind of surroundings; colours are RGB, 0 to 255."""

    name: str
    sky: tuple[Colour, Colour]
    """Colour at the top and at the horizon."""
    ground: tuple[Colour, Colour]
    """Colour at the horizon and at the camera's feet."""
    blade: Colour
    """Colour of grass or reeds."""
    feature: str
    """Objects in the distance: trunks, bushes, reeds, rocks or firs."""
    feature_colour: Colour


HABITATS = (
    Habitat(
        "forest", ((92, 116, 92), (150, 168, 132)), ((84, 82, 52), (66, 58, 38)), (58, 86, 40), "trunks", (58, 48, 40)
    ),
    Habitat(
        "savanna",
        ((150, 182, 206), (224, 214, 184)),
        ((178, 152, 88), (142, 112, 60)),
        (170, 146, 72),
        "bushes",
        (104, 108, 56),
    ),
    Habitat(
        "wetland",
        ((146, 168, 178), (192, 204, 200)),
        ((104, 124, 104), (70, 84, 66)),
        (88, 116, 62),
        "reeds",
        (96, 112, 66),
    ),
    Habitat(
        "heath",
        ((166, 178, 192), (212, 208, 204)),
        ((128, 106, 100), (98, 84, 74)),
        (112, 96, 76),
        "bushes",
        (118, 88, 104),
    ),
    Habitat(
        "tundra",
        ((178, 192, 206), (222, 228, 232)),
        ((206, 212, 216), (184, 190, 196)),
        (136, 134, 116),
        "firs",
        (70, 86, 80),
    ),
    Habitat(
        "scree",
        ((138, 166, 200), (206, 208, 206)),
        ((152, 142, 130), (120, 110, 100)),
        (124, 120, 84),
        "rocks",
        (112, 104, 98),
    ),
)


def backdrop(habitat: Habitat, horizon: float, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw the surroundings without an animal; ``horizon`` is from 0 (top) to 1.

    Lengths are shares of the width, so that any size looks the same.
    """
    width, height = size
    picture = Image.fromarray(_gradients(habitat, horizon, size, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(4, 11))):
        _feature(draw, habitat, float(rng.uniform(0, width)), horizon * height, width, rng)
    _blades(draw, habitat.blade, (horizon * height, height), 60, 0.05, size, rng)
    return picture.filter(ImageFilter.GaussianBlur(width / 500))


def foreground(picture: Image.Image, habitat: Habitat, ground: float, amount: float, rng: np.random.Generator) -> None:
    """Draw grass in front of the animal's feet, in place; ``amount`` and ``ground``, the height of the feet, are from 0 to 1."""
    rows = (min(0.99, ground + 0.01) * picture.height, picture.height * 1.06)
    _blades(ImageDraw.Draw(picture), habitat.blade, rows, round(45 * amount), 0.11, picture.size, rng)


def _gradients(habitat: Habitat, horizon: float, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return sky and ground with mottling, H×W×3 uint8."""
    width, height = size
    edge = max(1, min(height - 1, round(horizon * height)))
    ramps = ((habitat.sky, edge), (habitat.ground, height - edge))
    rows = np.concatenate([np.linspace(*colours, steps, dtype=np.float32) for colours, steps in ramps])
    mottle = np.zeros((height, width), dtype=np.float32)
    for cells, strength in ((6, 0.10), (20, 0.09), (60, 0.07)):
        coarse = rng.normal(0, strength, (max(2, cells * 3 // 4), cells)).astype(np.float32)
        mottle += np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    mottle[:edge] *= 0.35
    return np.clip(rows[:, None, :] * (1 + mottle[:, :, None]), 0, 255).astype(np.uint8)


def _varied(colour: Colour, rng: np.random.Generator) -> Colour:
    return shaded(colour, float(rng.uniform(0.75, 1.25)))


def _feature(
    draw: ImageDraw.ImageDraw, habitat: Habitat, x: float, y: float, width: int, rng: np.random.Generator
) -> None:
    """Draw one object on the horizon at pixel (x, y)."""
    unit = width * float(rng.uniform(0.5, 1.3))
    colour = _varied(habitat.feature_colour, rng)
    match habitat.feature:
        case "trunks":
            girth = 0.025 * unit
            draw.polygon(
                [
                    (x - girth, -5),
                    (x + girth, -5),
                    (x + 1.6 * girth, y + 0.12 * unit),
                    (x - 1.6 * girth, y + 0.12 * unit),
                ],
                fill=colour,
            )
        case "bushes":
            for _ in range(5):
                cx, cy = x + float(rng.normal(0, 0.04)) * unit, y + float(rng.normal(0, 0.015)) * unit
                reach = float(rng.uniform(0.03, 0.06)) * unit
                draw.ellipse((cx - reach, cy - reach * 0.8, cx + reach, cy + reach * 0.8), fill=_varied(colour, rng))
        case "reeds":
            for _ in range(9):
                foot, tip = x + float(rng.normal(0, 0.03)) * unit, x + float(rng.normal(0, 0.04)) * unit
                draw.line(
                    [(foot, y + 0.06 * unit), (tip, y - float(rng.uniform(0.05, 0.16)) * unit)],
                    fill=colour,
                    width=max(1, round(0.006 * unit)),
                )
        case "firs":
            draw.polygon(
                [(x - 0.05 * unit, y + 0.02 * unit), (x, y - 0.17 * unit), (x + 0.05 * unit, y + 0.02 * unit)],
                fill=colour,
            )
        case _:
            corners = zip(np.sort(rng.uniform(0, 2 * np.pi, 7)), rng.uniform(0.03, 0.08, 7) * unit, strict=True)
            draw.polygon(
                [(x + float(r * np.cos(t)), y + 0.03 * unit + float(0.7 * r * np.sin(t))) for t, r in corners],
                fill=colour,
            )


def _blades(
    draw: ImageDraw.ImageDraw,
    colour: Colour,
    rows: tuple[float, float],
    number: int,
    tall: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> None:
    """Draw grass with its roots between two pixel rows, the nearer the taller; ``tall`` is a share of the width."""
    width = size[0]
    for y in np.sort(rng.uniform(rows[0], rows[1], number)).tolist():
        x, nearness = float(rng.uniform(-0.02, 1.02)) * width, (y - rows[0]) / (rows[1] - rows[0])
        reach = tall * width * (0.4 + 0.6 * nearness) * float(rng.uniform(0.6, 1.2))
        lean, half = float(rng.normal(0, 0.35)) * reach, 0.0035 * width * (0.5 + nearness)
        draw.polygon([(x - half, y), (x + lean, y - reach), (x + half, y)], fill=_varied(colour, rng))
